package s3mem

import (
	"context"
	"io"
	"sync"
	"time"

	"pailfs/s3client"
)

// Store is an account in memory. Safe for concurrent use; it lives until it is garbage.
type Store struct {
	profile      s3client.Profile
	now          func() time.Time
	lag          time.Duration
	deletionLag  time.Duration
	wholeSeconds bool
	swift        bool

	mu struct {
		sync.Mutex
		buckets map[string]*bucket
		uploads int // ids given out
		counts  Counts
		calls   map[string]int64
	}
}

var _ s3client.Store = (*Store)(nil)

// Option changes a new Store.
type Option func(*Store)

// New is an empty account. Without options it has the limits of DefaultProfile, listings are never late, and copies
// are like those of AWS.
func New(opts ...Option) *Store {
	s := &Store{profile: DefaultProfile(), now: time.Now}
	s.mu.buckets = make(map[string]*bucket)
	s.mu.calls = make(map[string]int64)
	for _, o := range opts {
		o(s)
	}
	return s
}

// DefaultProfile is what New's stores can do without WithProfile.
func DefaultProfile() s3client.Profile {
	const mib, gib = 1 << 20, 1 << 30
	return s3client.Profile{
		Name: "generic", Region: "KR1", Endpoint: "memory:",
		MinPart: 5 * mib, MaxPart: 5 * gib, MaxParts: 10000, MaxPut: 5 * gib, MaxCopy: 5 * gib,
		MaxDelete: 1000, MaxMetaValue: 2048, MaxMeta: 2048,
	}
}

// WithProfile sets the limits; they are enforced, and returned by Profile.
func WithProfile(p s3client.Profile) Option { return func(s *Store) { s.profile = p } }

// WithMinPart sets the smallest size in bytes of a part that is not the last.
func WithMinPart(n int64) Option { return func(s *Store) { s.profile.MinPart = n } }

// WithClock sets the clock that dates objects and that listing lag runs on.
func WithClock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// WithListingLag makes listings show creations, new sizes and deletions d later. Head and Get are never late.
func WithListingLag(d time.Duration) Option { return func(s *Store) { s.lag = d } }

// WithDeletionLag makes listings show deletions alone this late; a key that is written again meanwhile is shown as written.
func WithDeletionLag(d time.Duration) Option { return func(s *Store) { s.deletionLag = d } }

// WithWholeSeconds rounds Modified up to whole seconds, as Swift does.
func WithWholeSeconds() Option { return func(s *Store) { s.wholeSeconds = true } }

// LikeSwift takes Swift's ways: whole seconds rounded up; the copy of a multipart object is a plain object that shows
// the old "-N" ETag; a CopyPart range past the source's end is cut short silently; "_" in names of an upload's metadata
// turns into "-"; a bucket's ACL always reads as the owner's alone.
func LikeSwift() Option {
	return func(s *Store) { s.swift, s.wholeSeconds = true, true }
}

// WithBuckets makes buckets. Names are not checked: a console may have made names that S3 refuses.
func WithBuckets(names ...string) Option {
	return func(s *Store) {
		for _, n := range names {
			s.bucketLocked(n)
		}
	}
}

// Profile implements s3client.Store.
func (s *Store) Profile() s3client.Profile { return s.profile }

// modified is the time that an object made now carries.
func (s *Store) modified() time.Time {
	t := s.now().UTC()
	if !s.wholeSeconds {
		return t.Round(0)
	}
	if w := t.Truncate(time.Second); !w.Equal(t) {
		return w.Add(time.Second)
	}
	return t.Round(0)
}

// call is what an error says of the request that failed.
type call struct{ op, bucket, key string }

func (c call) fail(kind s3client.Kind, status int, code, message string) error {
	return &s3client.Error{Op: c.op, Bucket: c.bucket, Key: c.key, Kind: kind, Status: status, Code: code,
		Message: message}
}

// canceled is the context's error as an *Error, nil while the context lives.
func (c call) canceled(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &s3client.Error{Op: c.op, Bucket: c.bucket, Key: c.key, Kind: s3client.Canceled, Err: err}
	}
	return nil
}

// start counts a request unless its context has ended.
func (s *Store) start(ctx context.Context, c call, method string) error {
	if err := c.canceled(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.countLocked(method, 1)
	s.mu.Unlock()
	return nil
}

// readBody reads a request's body in full, outside every lock, and counts it.
func (s *Store) readBody(ctx context.Context, c call, body io.ReaderAt, size int64) ([]byte, error) {
	const step = 1 << 20
	p := make([]byte, size)
	for off := int64(0); off < size; off += step {
		if err := c.canceled(ctx); err != nil {
			return nil, err
		}
		q := p[off:min(off+step, size)]
		n, err := body.ReadAt(q, off)
		s.mu.Lock()
		s.mu.counts.BytesOut += int64(n)
		s.mu.Unlock()
		if n == len(q) {
			continue
		}
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, &s3client.Error{Op: c.op, Bucket: c.bucket, Key: c.key, Kind: s3client.Unknown, Err: err}
	}
	return p, c.canceled(ctx)
}
