package fs

import (
	"log"
	"log/slog"
	"strings"
)

// unread is what the library says when the kernel takes no answer any more: the caller was killed while it waited.
const unread = "Write/Writev failed, err: 2=no such file or directory"

// aborted is what it says when the connection was aborted, by umount -f or in /sys/fs/fuse: that the mount has ended is said elsewhere.
const aborted = "Failed to read from fuse conn: 103=software caused connection abort"

// libraryLog is the library's one logger: its warnings.
func libraryLog(o Options) *log.Logger {
	return log.New(libraryLines{o}, "", 0)
}

// libraryLines gives each line of the library its level.
type libraryLines struct{ o Options }

func (l libraryLines) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	switch {
	case strings.Contains(line, unread):
		l.o.Log.Debug("fuse: " + line)
	case strings.Contains(line, aborted):
		l.o.Log.Info("fuse: "+line, slog.String("mountpoint", l.o.Mountpoint))
	default:
		l.o.Log.Warn("fuse: "+line, slog.String("mountpoint", l.o.Mountpoint))
	}
	return len(p), nil
}
