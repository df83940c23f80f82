package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A runtime file is how a mount and the commands about it find each other. The process that serves the mount holds its
// flock for as long as it lives, writes there how far it is with storing, and at its end how it ended. A file nobody
// holds and without a result is a mount whose process was killed.
type runtimeState struct {
	PID        int       `json:"pid"`
	Mountpoint string    `json:"mountpoint"`
	Source     string    `json:"source"`
	StateDir   string    `json:"state_dir"`
	LogFile    string    `json:"log_file,omitempty"`
	Started    time.Time `json:"started"`
	// Lent: somebody else has mounted it, and the mount point is a name alone.
	Lent bool `json:"lent,omitempty"`
	// Options are the values the mount was begun with, as written. There is no secret among them.
	Options  map[string]string `json:"options,omitempty"`
	Socket   string            `json:"socket,omitempty"` // file name of the control socket, beside this file
	Ending   bool              `json:"ending,omitempty"` // all is stored or kept, and the socket is closed
	Progress *progress         `json:"progress,omitempty"`
	Result   *result           `json:"result,omitempty"`
}

// progress is how much of what was left at the unmount is stored: bytes, and changes of names.
type progress struct {
	Done      int64 `json:"done"`
	Total     int64 `json:"total"`
	NamesDone int64 `json:"names_done,omitempty"`
	Names     int64 `json:"names,omitempty"`
}

func (p progress) String() string {
	text := fmt.Sprintf("%s of %s", formatSize(p.Done), formatSize(p.Total))
	if p.Names > 0 {
		text += fmt.Sprintf(", %d of %s", p.NamesDone, names(p.Names))
	}
	return text
}

// result is how a mount ended.
type result struct {
	Code    int           `json:"code"`
	Message string        `json:"message,omitempty"`
	Hint    string        `json:"hint,omitempty"`
	Unsaved []unsavedFile `json:"unsaved,omitempty"`
}

// unsavedFile is what the store does not have yet: a file, or a change of a name.
type unsavedFile struct {
	Path    string     `json:"path"`             // BUCKET/KEY
	Change  string     `json:"change,omitempty"` // delete, put (a directory, link or special file) or headers; "" for the bytes of a file
	Bytes   int64      `json:"bytes"`
	Since   time.Time  `json:"since"`
	Error   string     `json:"error,omitempty"`   // why the last try failed
	Tries   int        `json:"tries,omitempty"`   // that failed
	Next    *time.Time `json:"next,omitempty"`    // when it is tried again
	Earlier bool       `json:"earlier,omitempty"` // left by an earlier run
}

// what names it for people.
func (f unsavedFile) what() string {
	switch f.Change {
	case "":
		return fmt.Sprintf("%s (%s)", shown(f.Path), formatSize(f.Bytes))
	case changeDelete:
		return shown(f.Path) + " (deleted here)"
	case changeHeaders:
		return shown(f.Path) + " (attributes)"
	case changeRename:
		return shown(f.Path) + " (renamed here)"
	}
	return shown(f.Path) + " (made here)"
}

// The changes of names, as they are called in JSON.
const (
	changeDelete  = "delete"
	changePut     = "put"
	changeHeaders = "headers"
	changeRename  = "rename" // of a directory, by an earlier run
)

// errServed: another process serves the mount point.
var errServed = errors.New("another pailfs serves this mount point")

func runtimePath(dir, mountpoint string) string {
	return filepath.Join(dir, escapeName(mountpoint)+".json")
}

// runtimeFile is the serving process's side.
type runtimeFile struct {
	path string
	mu   struct {
		sync.Mutex
		f     *os.File // nil after Finish
		state runtimeState
	}
}

// openRuntime takes the mount point for this process.
func openRuntime(dir string, state runtimeState) (*runtimeFile, error) {
	if err := privateDir(dir); err != nil {
		return nil, err
	}
	path := runtimePath(dir, state.Mountpoint)
	f, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	r := &runtimeFile{path: path}
	r.mu.f, r.mu.state = f, state
	if err := r.write(func(*runtimeState) {}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// lockFile opens and locks the file of a name. A reader may hold the lock for a moment (runtimeView.ended), so that one
// refusal says little; and a file that was removed while the lock was waited for excludes nobody.
func lockFile(path string) (*os.File, error) {
	const tries, pause = 20, 10 * time.Millisecond
	for try := 0; ; try++ {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		err = flock(f, unix.LOCK_EX)
		if err == nil && sameFile(f, path) {
			return f, nil
		}
		if try == tries && err == nil {
			err = unix.EWOULDBLOCK
		}
		if err != nil && try == tries {
			defer f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("%w%s", errServed, pidIn(f))
			}
			return nil, err
		}
		f.Close()
		time.Sleep(pause)
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != unix.EINTR {
			if err != nil {
				return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
			}
			return nil
		}
	}
}

func sameFile(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, named)
}

func pidIn(f *os.File) string {
	if s, err := readState(f); err == nil && s.PID > 0 {
		return fmt.Sprintf(" (pid %d)", s.PID)
	}
	return ""
}

// write changes the state and writes it. The text is written in one piece over the old one and then cut: a reader takes
// the first JSON value and ignores what follows.
func (r *runtimeFile) write(change func(*runtimeState)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.f == nil {
		return os.ErrClosed
	}
	change(&r.mu.state)
	b, err := json.Marshal(r.mu.state)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if _, err := r.mu.f.WriteAt(b, 0); err != nil {
		return err
	}
	return r.mu.f.Truncate(int64(len(b)))
}

// Progress says how far the mount is with the bytes that were left.
func (r *runtimeFile) Progress(done, total int64) error {
	return r.write(func(s *runtimeState) {
		p := progressOf(s)
		p.Done, p.Total = done, total
		s.Progress = &p
	})
}

// Names says how far the mount is with the changes of names that were left.
func (r *runtimeFile) Names(done, total int64) error {
	return r.write(func(s *runtimeState) {
		p := progressOf(s)
		p.NamesDone, p.Names = done, total
		s.Progress = &p
	})
}

func progressOf(s *runtimeState) progress {
	if s.Progress == nil {
		return progress{}
	}
	return *s.Progress
}

// Socket says which socket the mount answers on.
func (r *runtimeFile) Socket(name string) error {
	return r.write(func(s *runtimeState) { s.Socket = name })
}

// Ending says that the mount answers no longer and is about to finish.
func (r *runtimeFile) Ending() error {
	return r.write(func(s *runtimeState) { s.Socket, s.Ending = "", true })
}

// State is what was last written.
func (r *runtimeFile) State() runtimeState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.state
}

// Finish writes how the mount ended and gives the lock back. A good end leaves no file; whoever has it open reads the
// result all the same.
func (r *runtimeFile) Finish(res result) error {
	err := r.write(func(s *runtimeState) { s.Result = &res })
	if res.Code == exitOK {
		err = errors.Join(err, os.Remove(r.path))
	}
	return errors.Join(err, r.close())
}

// Discard removes the file: the mount never was.
func (r *runtimeFile) Discard() error { return errors.Join(os.Remove(r.path), r.close()) }

func (r *runtimeFile) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.f == nil {
		return nil
	}
	err := r.mu.f.Close()
	r.mu.f = nil
	return err
}

// runtimeView is a reader's side, of one mount: it stays with the file it has opened.
type runtimeView struct {
	f *os.File
}

// viewRuntime opens the runtime file of a mount point in the first of dirs that has one. os.ErrNotExist when none has.
// Only in the first directory, the own one, can there be another error: what others have put into theirs is passed over.
func viewRuntime(dirs []string, mountpoint string) (*runtimeView, error) {
	for i, dir := range dirs {
		v, err := openView(runtimePath(dir, mountpoint))
		if err == nil || i == 0 && !errors.Is(err, os.ErrNotExist) {
			return v, err
		}
	}
	return nil, os.ErrNotExist
}

// openView opens one runtime file. Root looks into directories of users as well: what is no plain file there is not waited
// for.
func openView(path string) (*runtimeView, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no runtime file", f.Name())
	}
	return &runtimeView{f}, nil
}

// Read is the state as last written.
func (v *runtimeView) Read() (runtimeState, error) { return readState(v.f) }

// Ended says whether the process that served the mount is gone.
func (v *runtimeView) Ended() bool {
	if flock(v.f, unix.LOCK_SH) != nil {
		return false
	}
	_ = unix.Flock(int(v.f.Fd()), unix.LOCK_UN)
	return true
}

// Owns says whether a process belongs to the user whose file this is, or is gone. Root reads files that users wrote: a user
// must not choose which process root signals.
func (v *runtimeView) Owns(pid int) bool {
	var file, process unix.Stat_t
	if unix.Fstat(int(v.f.Fd()), &file) != nil {
		return false
	}
	err := unix.Stat("/proc/"+strconv.Itoa(pid), &process)
	return errors.Is(err, unix.ENOENT) || err == nil && process.Uid == file.Uid
}

// Forget removes the file of a mount that has ended, if it is still the one of that name and lies in dir: in a directory
// of another user nothing is touched.
func (v *runtimeView) Forget(dir string) {
	if filepath.Dir(v.f.Name()) == dir && sameFile(v.f, v.f.Name()) {
		_ = os.Remove(v.f.Name()) // a leftover is overwritten by the next mount
	}
}

func (v *runtimeView) Close() { v.f.Close() }

func readState(f *os.File) (runtimeState, error) {
	const most = 16 << 20 // a list of unsaved files is long at worst
	var s runtimeState
	err := json.NewDecoder(io.NewSectionReader(f, 0, most)).Decode(&s)
	return s, err
}
