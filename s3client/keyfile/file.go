package keyfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// ErrTaken: the profile holds keys already.
var ErrTaken = errors.New("the profile holds an access key already")

const (
	// longest is more than any file of keys has.
	longest = 1 << 20
	// turnEvery is how often a file is asked for that another process is writing.
	turnEvery = 20 * time.Millisecond
)

// Profiles are those of a file that hold keys; none when there is no file.
func Profiles(path string) ([]Profile, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := readAll(f)
	return profiles(string(text)), err
}

func readAll(f *os.File) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err == nil && (len(text) > longest || bytes.IndexByte(text, 0) >= 0) {
		err = fmt.Errorf("%s is no file of keys: it is longer than %d bytes, or not text", f.Name(), longest)
	}
	return text, err
}

// Check finds out before a key is made whether Put would write it: ErrTaken, or why the file cannot be written. The file's
// directory is made when there is none.
func Check(path, profile string, replace bool) error {
	if err := checkProfile(profile); err != nil {
		return err
	}
	path, err := target(path)
	if err != nil {
		return err
	}
	have, err := Profiles(path)
	if err != nil {
		return err
	}
	if !replace && slices.ContainsFunc(have, func(p Profile) bool { return p.Name == profile }) {
		return ErrTaken
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), temporary)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Put gives a profile keys; without replace a profile that holds some is ErrTaken. The file's mode becomes 0600, its owner
// stays. It waits for its turn until ctx ends.
func Put(ctx context.Context, path, profile string, k Keys, replace bool) error {
	if err := errors.Join(checkProfile(profile), k.check()); err != nil {
		return err
	}
	path, err := target(path)
	if err != nil {
		return err
	}
	old, err := lock(ctx, path)
	if err != nil {
		return err
	}
	defer old.Close() // and with it the lock
	text, err := readAll(old)
	if err == nil && !replace && slices.ContainsFunc(profiles(string(text)), func(p Profile) bool { return p.Name == profile }) {
		err = ErrTaken
	}
	if err == nil {
		err = replaceFile(old, path, put(string(text), profile, k))
	}
	if err != nil && len(text) == 0 {
		return errors.Join(err, removeEmpty(old, path))
	}
	return err
}

// target is the file itself where the path is a link: a link in somebody's home stays one.
func target(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return "", fmt.Errorf("%s is a link to a file that is not there", path)
		}
		return path, nil
	}
	return real, err
}

// lock opens the file, which it makes when there is none, for one writer. Who waited behind a writer has a file that was
// replaced since, and opens the new one.
func lock(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		current, err := locked(ctx, f, path)
		if err == nil && current {
			return f, nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}

func locked(ctx context.Context, f *os.File, path string) (current bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("%s is no regular file", path)
	}
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return false, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, fmt.Errorf("another program is writing %s: %w", path, ctx.Err())
		}
	}
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(info, now), err
}

const temporary = ".pailfs-keys-*"

// replaceFile puts a new file with the text in place of the old one.
func replaceFile(old *os.File, path, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), temporary) // its mode is 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(text)
	if err == nil {
		err = sameOwner(f, old)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// sameOwner gives a file to the owner of another: root may write a user's keys.
func sameOwner(f, as *os.File) error {
	var want, have unix.Stat_t
	if err := errors.Join(unix.Fstat(int(as.Fd()), &want), unix.Fstat(int(f.Fd()), &have)); err != nil {
		return err
	}
	if want.Uid == have.Uid && want.Gid == have.Gid {
		return nil
	}
	err := f.Chown(int(want.Uid), int(want.Gid))
	if want.Uid == have.Uid && errors.Is(err, fs.ErrPermission) {
		return nil // a group that the owner is not in: it has no rights at the file anyway
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeEmpty takes the file away that lock has made, unless somebody else has put one in its place.
func removeEmpty(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil || info.Size() > 0 {
		return err
	}
	now, err := os.Stat(path)
	if err != nil || !os.SameFile(info, now) {
		return nil // it is gone already, or another's
	}
	return os.Remove(path)
}
