package journal

import "os"

// Hooks stand between the log and the disk, for other rooms' tests of what a crash leaves. The zero value does nothing.
type Hooks struct {
	// Sync is called in place of fdatasync of a segment.
	Sync func(*os.File) error
	// Append is called before each entry is written, with the log's lock held: a copy of the directory that it makes is one
	// that kill -9 could have left.
	Append func()
	// Refuse is asked before each entry is written; its error is the disk's.
	Refuse func() error
	// SyncSpool is called in place of fdatasync of a spool's file.
	SyncSpool func(*os.File) error
	// SegmentBytes is a segment's size; 0: the usual one.
	SegmentBytes int64
	// InlineBytes is the most of a spool that is in memory and stands in the log; 0: the usual.
	InlineBytes int64
	// LentBytes is how much memory is borrowed at once, a multiple of 64 KiB; 0: the usual.
	LentBytes int64
}

func (h Hooks) install(l *ledger) {
	if h.Sync != nil {
		l.syncFile = h.Sync
	}
	if h.SegmentBytes > 0 {
		l.segmentBytes = h.SegmentBytes
	}
	if h.Refuse != nil {
		write := l.writeAt
		l.writeAt = func(f *os.File, b []byte, off int64) (int, error) {
			if err := h.Refuse(); err != nil {
				return 0, err
			}
			return write(f, b, off)
		}
	}
	if h.Append != nil {
		write := l.writeAt
		l.writeAt = func(f *os.File, b []byte, off int64) (int, error) {
			h.Append()
			return write(f, b, off)
		}
	}
}
