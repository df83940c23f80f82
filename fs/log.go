package fs

import (
	"log"
	"log/slog"
	"strings"
)

// unread is what the library says when the kernel takes no answer any more: the caller was killed while it waited.
const unread = "Write/Writev failed, err: 2=no such file or directory"

// libraryLog is the library's one logger: its warnings.
func libraryLog(o Options) *log.Logger {
	return log.New(libraryLines{o}, "", 0)
}

// libraryLines gives each line of the library its level.
type libraryLines struct{ o Options }

func (l libraryLines) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	if strings.Contains(line, unread) {
		l.o.Log.Debug("fuse: " + line)
	} else {
		l.o.Log.Warn("fuse: "+line, slog.String("mountpoint", l.o.Mountpoint))
	}
	return len(p), nil
}
