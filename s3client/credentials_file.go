package s3client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"
)

// fileCredentials reads a credentials file and reads it again when it has changed: written over, replaced, or behind a link
// that leads elsewhere, as a secret of Kubernetes does. What cannot be read again, or is refused, leaves the keys as they
// are. credentials.Credentials calls it under a lock.
type fileCredentials struct {
	path    string   // "": the default files, merged
	watched []string // the files whose change counts
	profile string
	asking  asking[readKeys]
	last    readKeys // empty before the first that worked
	looked  time.Time
	failed  error // the last time
}

// readKeys are those of a file, or of what it led to.
type readKeys struct {
	credentials.Value
	parsed *credentials.FileAWSCredentials
	stamps []stamp // of the files
}

// lookEvery bounds how often a file is looked at without a reason.
const lookEvery = 5 * time.Second

var _ credentials.Provider = (*fileCredentials)(nil)

// stamp tells one state of a file from another.
type stamp struct {
	dev, ino      uint64
	size          int64
	written, made unix.Timespec // mtime and ctime
}

func stampOf(path string) stamp {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{} // not there is a state as well
	}
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim} //nolint:unconvert // Dev has 32 bits on some
}

func (p *fileCredentials) stampsNow() []stamp {
	var all []stamp
	for _, path := range p.watched {
		all = append(all, stampOf(path))
	}
	return all
}

// openFile reads the file that was asked for.
func openFile(path, profile string) (*fileCredentials, error) {
	if err := checkMode(path); err != nil {
		return nil, err
	}
	p := &fileCredentials{path: path, watched: []string{path}, profile: profile}
	if _, err := p.read(); err != nil {
		return nil, badConfig("credentials file %s, profile %s: %v", path, profileName(profile), err)
	}
	return p, nil
}

// defaultFile reads the files of the AWS tools; nil when there are none, or nothing in them and no profile was asked for.
func defaultFile(profile string) (*fileCredentials, error) {
	path := sharedFile("AWS_SHARED_CREDENTIALS_FILE", "credentials")
	config := sharedFile("AWS_CONFIG_FILE", "config")
	err := checkMode(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	asked := profile != "" || os.Getenv("AWS_PROFILE") != ""
	if _, err := os.Stat(config); missing && err != nil {
		if asked {
			return nil, badConfig("there is no %s for profile %s", path, profileName(profile))
		}
		return nil, nil
	}
	p := &fileCredentials{watched: []string{path, config}, profile: profile}
	_, err = p.read()
	var open *Error
	switch {
	case err == nil:
		return p, nil
	case errors.As(err, &open):
		return nil, open
	case asked && errors.Is(err, errNoKeys):
		return nil, badConfig("%s has no aws_access_key_id in profile %s", path, profileName(profile))
	case asked:
		return nil, badConfig("profile %s: %v", profileName(profile), err)
	}
	return nil, nil // a file for other things (regions, other profiles): a role may still be there
}

func sharedFile(env, name string) string {
	if path := os.Getenv(env); path != "" {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join("/nonexistent", name)
	}
	return filepath.Join(home, ".aws", name)
}

func profileName(profile string) string {
	if profile == "" {
		profile = os.Getenv("AWS_PROFILE")
	}
	if profile == "" {
		profile = "default"
	}
	return profile
}

var errNoKeys = errors.New("there is no aws_access_key_id")

// read reads the files. When that fails the keys of before stay, as long as there are some.
func (p *fileCredentials) read() (credentials.Value, error) {
	got, err := p.asking.within(longAsk, p.ask)
	p.looked, p.failed = time.Now(), err
	switch {
	case err == nil:
		p.last = got
	case p.last.AccessKeyID == "":
		return credentials.Value{}, err
	}
	return p.last.Value, nil
}

// ask is one reading; it changes nothing of p.
func (p *fileCredentials) ask() (readKeys, error) {
	got := readKeys{stamps: p.stampsNow()} // before: what changes meanwhile is read once more
	if err := p.checkModes(); err != nil {
		return got, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), longAsk)
	defer cancel()
	got.parsed = &credentials.FileAWSCredentials{Filename: p.path, Profile: p.profile}
	var err error
	got.Value, err = got.parsed.RetrieveWithCredContext(&credentials.CredContext{Client: &http.Client{Timeout: longAsk}, Context: ctx})
	if err == nil && (got.AccessKeyID == "" || got.SecretAccessKey == "") {
		err = errNoKeys
	}
	return got, p.withoutLines(err)
}

// repeating are the errors of the library that repeat what stands in the file, one way or another.
var repeating = []string{"key-value delimiter not found", "empty key name", "missing closing key quote", "unclosed section", "BOM:"}

// withoutLines makes an error tellable: a line that the library does not understand may be the secret without its name.
func (p *fileCredentials) withoutLines(err error) error {
	if err == nil {
		return nil
	}
	for _, path := range p.watched {
		text, readErr := os.ReadFile(path)
		if readErr != nil {
			continue // err says so, or it is not this file's
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			if line = strings.TrimSpace(line); len(line) > 3 && strings.Contains(err.Error(), line) {
				return fmt.Errorf("line %d of %s is neither [PROFILE] nor NAME = VALUE", n, path)
			}
		}
	}
	if slices.ContainsFunc(repeating, func(words string) bool { return strings.Contains(err.Error(), words) }) {
		return fmt.Errorf("%s has a line that is neither [PROFILE] nor NAME = VALUE, or a quote that nothing closes", strings.Join(p.watched, " or "))
	}
	return err
}

// trouble is why the last reading failed.
func (p *fileCredentials) trouble() error { return p.failed }

// RetrieveWithCredContext reads the file. What a program or a service gave that cannot be asked any more is not asked for
// with every request.
func (p *fileCredentials) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	if p.failed != nil && !p.last.Expiration.IsZero() && time.Since(p.looked) < lookEvery {
		return p.last.Value, nil
	}
	return p.read()
}

// Retrieve is RetrieveWithCredContext.
func (p *fileCredentials) Retrieve() (credentials.Value, error) {
	return p.RetrieveWithCredContext(nil)
}

// IsExpired says when to read again: the file has changed, or what it led to (a process, a session) has expired.
func (p *fileCredentials) IsExpired() bool {
	if p.last.parsed == nil || p.last.parsed.IsExpired() && !p.last.Expiration.IsZero() {
		return true
	}
	if time.Since(p.looked) < lookEvery {
		return false
	}
	p.looked = time.Now()
	return p.failed != nil || !slices.Equal(p.stampsNow(), p.last.stamps)
}

// checkModes refuses files that others can read. The AWS tools' configuration is nobody's secret, unless it holds one.
func (p *fileCredentials) checkModes() error {
	for i, path := range p.watched {
		err := checkMode(path)
		if err == nil || p.path == "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if i == 0 {
			return err
		}
		if text, readErr := os.ReadFile(path); readErr != nil || bytes.Contains(text, []byte("aws_secret_access_key")) {
			return err
		}
	}
	return nil
}

// checkMode refuses a file with secrets that others can read.
func checkMode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		e := badConfig("cannot read the credentials file: %v", err)
		e.Err = err
		return e
	}
	if OthersRead(path, info) {
		mode := info.Mode().Perm()
		e := badConfig("other users can read the credentials file %s (mode %04o); run: chmod 600 %s", path, mode, path)
		e.Code = "CredentialsFileMode"
		return e
	}
	return nil
}

// OthersRead says whether a file with secrets can be read by others than those it is for. A file that only its owner has a
// right to is fine, and these are:
//
//   - one below $CREDENTIALS_DIRECTORY, which systemd makes for the one service (0440 stands for an access list there);
//   - one on a read-only memory file system, such as a secret of Kubernetes: it is in nobody's reach but that of the
//     containers it was given to, and nobody there could change its mode;
//   - 0640 and 0440 of another owner, read by way of the group: root gives the file to a service.
func OthersRead(path string, info fs.FileInfo) bool { return othersRead(path, info, os.Geteuid()) }

func othersRead(path string, info fs.FileInfo, euid int) bool {
	mode := info.Mode().Perm()
	if mode&0o077 == 0 || !info.Mode().IsRegular() {
		return false
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); filepath.IsAbs(dir) {
		if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
			return false
		}
	}
	var disk unix.Statfs_t
	if unix.Statfs(path, &disk) == nil && disk.Flags&unix.ST_RDONLY != 0 && (disk.Type == unix.TMPFS_MAGIC || disk.Type == unix.RAMFS_MAGIC) {
		return false
	}
	var st unix.Stat_t
	if mode&0o037 == 0 && unix.Stat(path, &st) == nil {
		return euid == 0 || int(st.Uid) == euid
	}
	return true
}
