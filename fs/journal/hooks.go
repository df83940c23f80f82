package journal

import "os"

// Hooks stand between the log and the disk, for other rooms' tests of what a crash leaves. The zero value does nothing.
type Hooks struct {
	// Sync is called in place of fdatasync of a segment.
	Sync func(*os.File) error
	// Append is called before each entry is written, with the log's lock held: a copy of the directory that it makes is one
	// that kill -9 could have left.
	Append func()
	// SegmentBytes is a segment's size; 0: the usual one.
	SegmentBytes int64
}

func (h Hooks) install(l *ledger) {
	if h.Sync != nil {
		l.syncFile = h.Sync
	}
	if h.SegmentBytes > 0 {
		l.segmentBytes = h.SegmentBytes
	}
	if h.Append != nil {
		write := l.writeAt
		l.writeAt = func(f *os.File, b []byte, off int64) (int, error) {
			h.Append()
			return write(f, b, off)
		}
	}
}
