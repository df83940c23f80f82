package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// newLog makes the log of a mount.
func newLog(w io.Writer, s *settings) *slog.Logger {
	o := &slog.HandlerOptions{Level: s.LogLevel}
	var h slog.Handler = slog.NewTextHandler(w, o)
	if s.LogFormat == "json" {
		h = slog.NewJSONHandler(w, o)
	}
	return slog.New(newRepeats(h, time.Now))
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

// Reopen opens the file of the log's name again. On failure the old one stays.
func (l *logFile) Reopen() error {
	f, err := os.OpenFile(l.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
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
