package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/fs/opid"
	"pailfs/s3client"
)

// newLog makes the log of a mount. Its level can be changed while it is in use: settings.level.
func newLog(w io.Writer, s *settings) *slog.Logger {
	s.level = &slog.LevelVar{}
	s.level.Set(s.LogLevel)
	o := &slog.HandlerOptions{Level: s.level}
	var h slog.Handler
	switch {
	case s.LogFormat == "json":
		h = slog.NewJSONHandler(quietLines{w}, o)
	case toJournal(w, os.Getenv):
		h = newJournalLines(quietLines{w}, s.level)
	default:
		h = slog.NewTextHandler(quietLines{w}, o)
	}
	return slog.New(newRepeats(namedLines{h}, time.Now))
}

// quietLines writes lines so that they may stand on a terminal: names in them are anybody's, and slog escapes what disturbs one in
// text, but for the delete character, and not all of it in JSON.
type quietLines struct{ io.Writer }

func (q quietLines) Write(line []byte) (int, error) {
	if _, err := q.Writer.Write(quietJSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// namedLines is a log handler that writes on each line the name of the operation that its context belongs to.
type namedLines struct{ slog.Handler }

func (n namedLines) Handle(ctx context.Context, line slog.Record) error {
	if id, ok := opid.Of(ctx); ok {
		line = line.Clone()
		line.AddAttrs(slog.String("op", id.String()))
	}
	return n.Handler.Handle(ctx, line)
}

func (n namedLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return namedLines{n.Handler.WithAttrs(attrs)}
}
func (n namedLines) WithGroup(name string) slog.Handler { return namedLines{n.Handler.WithGroup(name)} }

// toJournal says whether a writer is what systemd has connected with its journal: that tells which device and inode it is.
func toJournal(w io.Writer, getenv func(string) string) bool {
	f, ok := w.(*os.File)
	stream := getenv("JOURNAL_STREAM")
	if !ok || stream == "" {
		return false
	}
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journalLines writes lines of text as the journal of systemd reads them from a service: the priority before the line, and no
// time, which the journal has. (sd-daemon(3): lines of a service that begin with <N> have that priority.)
type journalLines struct {
	slog.Handler
	out *prioritized // shared by a handler and those made of it
}

// prioritized writes each line with the priority that was set before.
type prioritized struct {
	mu sync.Mutex // held over a whole line
	w  io.Writer
	// priority belongs to who holds mu.
	priority int
}

func (p *prioritized) Write(line []byte) (int, error) {
	if _, err := fmt.Fprintf(p.w, "<%d>%s", p.priority, line); err != nil {
		return 0, err
	}
	return len(line), nil
}

func newJournalLines(w io.Writer, level slog.Leveler) *journalLines {
	out := &prioritized{w: w}
	return &journalLines{out: out, Handler: slog.NewTextHandler(out, &slog.HandlerOptions{Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})}
}

// priorityOf is the level as syslog(3) counts.
func priorityOf(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	}
	return 7
}

func (j *journalLines) Handle(ctx context.Context, line slog.Record) error {
	j.out.mu.Lock()
	defer j.out.mu.Unlock()
	j.out.priority = priorityOf(line.Level)
	return j.Handler.Handle(ctx, line)
}

func (j *journalLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalLines{j.Handler.WithAttrs(attrs), j.out}
}

func (j *journalLines) WithGroup(name string) slog.Handler {
	return &journalLines{j.Handler.WithGroup(name), j.out}
}

// traceTo logs requests to the store, each attempt by itself, when the level is debug.
func traceTo(log *slog.Logger) func(context.Context, s3client.Exchange) {
	return func(ctx context.Context, e s3client.Exchange) {
		if log.Enabled(ctx, slog.LevelDebug) {
			log.DebugContext(ctx, "store", "", e) // a group without a name: its fields stand in the line
		}
	}
}

// logFile is a log that is opened again by name when a rotation has moved it away.
type logFile struct {
	name string
	mu   struct {
		sync.Mutex
		f *os.File
	}
}

// openLog opens or makes a log file, with its directory. Logs name files of the user: nobody else reads them.
func openLog(name string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	l := &logFile{name: name}
	return l, l.Reopen()
}

// openLogFile opens or makes a log. It may lie where everybody writes: a link, and there a file, that another user has put in its
// way is refused. Links of one's own and of root lead on: /dev/stderr is one.
func openLogFile(name string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE
	f, err := os.OpenFile(name, flags|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, unix.ELOOP) {
		var link unix.Stat_t
		if err := unix.Lstat(name, &link); err != nil || !ownOrRoot(link.Uid) {
			return nil, errors.Join(fmt.Errorf("%s is a link of user %d: %w", shown(name), link.Uid, os.ErrPermission), err)
		}
		return os.OpenFile(name, flags, 0o600)
	}
	if err != nil {
		return nil, err
	}
	var file, dir unix.Stat_t
	err = errors.Join(unix.Fstat(int(f.Fd()), &file), unix.Stat(filepath.Dir(name), &dir))
	if err == nil && !ownOrRoot(file.Uid) && file.Mode&unix.S_IFMT == unix.S_IFREG && dir.Mode&unix.S_IWOTH != 0 {
		err = fmt.Errorf("%s is a file of user %d: %w", shown(name), file.Uid, os.ErrPermission)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Reopen opens the file of the log's name again. On failure the old one stays.
func (l *logFile) Reopen() error {
	f, err := openLogFile(l.name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.mu.f
	l.mu.f = f
	if old != nil {
		return old.Close()
	}
	return nil
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.f.Write(p)
}

// File is the open file, for a child process and for the runtime's report of a crash.
func (l *logFile) File() *os.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.f
}

func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.f.Close()
}
