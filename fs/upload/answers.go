package upload

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"pailfs/s3client"
)

// errAgain marks failures that a fresh upload may not have. The mark breaks the chain to the store's NotFound: an upload
// that vanished must never look like a file that is not there.
var errAgain = errors.New("the multipart upload is lost")

func again(err error) error {
	return &s3client.Error{Op: "multipart upload", Kind: s3client.Temporary, Message: err.Error(), Err: errAgain}
}

// vanished judges a part's failure: the only thing that it can miss is its upload (or the bucket, which the next
// creation finds out).
func vanished(err error) error {
	if s3client.KindOf(err) == s3client.NotFound {
		return again(err)
	}
	return err
}

// copyFailed judges a copied part's failure: both the upload and the source can be missing.
func copyFailed(err error) error {
	var e *s3client.Error
	if errors.As(err, &e) && e.Kind == s3client.NotFound && e.Code == "NoSuchUpload" {
		return again(err)
	}
	return baseGone(err)
}

// baseGone makes a source that is not there what it means to a file built on it: its version is gone.
func baseGone(err error) error {
	var e *s3client.Error
	if !errors.As(err, &e) || e.Kind != s3client.NotFound || e.Code == "NoSuchBucket" {
		return err
	}
	changed := *e
	changed.Kind, changed.Err = s3client.Changed, nil
	return &changed
}

// goneAfterwards is for a look at what was just stored: not finding it is a failure, not "no such file".
func goneAfterwards(err error) error {
	var e *s3client.Error
	if !errors.As(err, &e) || e.Kind != s3client.NotFound {
		return err
	}
	unknown := *e
	unknown.Kind, unknown.Err = s3client.Unknown, nil
	unknown.Message = "the store acknowledged the object and does not have it"
	return &unknown
}

// refused says that the store has clearly not completed an upload and is not about to.
func refused(err error) bool {
	switch s3client.KindOf(err) {
	case s3client.NotFound, s3client.Exists, s3client.Changed, s3client.Denied, s3client.TooLarge, s3client.Unsupported,
		s3client.Invalid, s3client.Throttled:
		return true
	}
	return false
}

func noETag(op string, to target) error {
	return &s3client.Error{Op: op, Bucket: to.bucket, Key: to.key, Kind: s3client.Unknown,
		Message: "the answer has no ETag: nothing shows that it was done"}
}

func overwritten(to target) error {
	return &s3client.Error{Op: "HEAD Object", Bucket: to.bucket, Key: to.key, Kind: s3client.Changed,
		Message: "replaced by another writer right after it was stored"}
}

func wrongSize(op string, to target, got, want int64) error {
	return &s3client.Error{Op: op, Bucket: to.bucket, Key: to.key, Kind: s3client.Unknown,
		Message: fmt.Sprintf("the store has %d bytes, should have %d", got, want)}
}

// body is a piece of the Source as the body of a request. It remembers the Source's failures, which a client may report
// as a connection's.
type body struct {
	src       io.ReaderAt
	off, size int64
	failed    atomic.Pointer[error]
	sum       *running // of what is read; nil: nobody wants it
	unit      unit
}

// unit is what was read last of a source that reads whole units (Grained).
type unit struct {
	sync.Mutex
	off   int64
	bytes []byte
}

func (b *body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= b.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), b.size-off)
	n, err := b.read(p[:want], b.off+off)
	if b.sum != nil {
		b.sum.read(p[:n], off)
	}
	switch {
	case int64(n) == want && want == int64(len(p)):
		return n, nil
	case int64(n) == want:
		return n, io.EOF
	case err == nil || errors.Is(err, io.EOF): // the file ends before the size it was said to have
		err = io.ErrUnexpectedEOF
	}
	b.failed.Store(&err)
	return n, err
}

// read reads from the source, a unit of it at once: a request takes less at a time.
func (b *body) read(p []byte, off int64) (n int, err error) {
	g, ok := b.src.(Grained)
	if !ok {
		return b.src.ReadAt(p, off)
	}
	for n < len(p) {
		at := off + int64(n)
		grain := g.Grain(at)
		if grain <= int64(len(p)-n) {
			m, err := b.src.ReadAt(p[n:], at)
			return n + m, err
		}
		m, err := b.readUnit(p[n:], at, grain)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// readUnit reads what one unit has of p.
func (b *body) readUnit(p []byte, off, grain int64) (int, error) {
	u := &b.unit
	u.Lock()
	defer u.Unlock()
	if off < u.off || off >= u.off+int64(len(u.bytes)) {
		start := off - off%grain
		from, to := max(start, b.off), min(start+grain, b.off+b.size)
		if int64(cap(u.bytes)) < grain {
			u.bytes = make([]byte, grain)
		}
		u.off, u.bytes = from, u.bytes[:to-from]
		if n, err := b.src.ReadAt(u.bytes, from); n < len(u.bytes) {
			u.bytes = u.bytes[:0]
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
	return copy(p, u.bytes[off-u.off:]), nil
}

// judge is what a part's failure means. What the Source misses is not the upload.
func (b *body) judge(err error) error {
	if b.failed.Load() != nil {
		return b.cause(err)
	}
	return vanished(err)
}

// cause is the Source's error where it had one, otherwise the request's.
func (b *body) cause(err error) error {
	if own := b.failed.Load(); own != nil {
		return fmt.Errorf("read what is to be sent: %w (%v)", *own, err)
	}
	return err
}
