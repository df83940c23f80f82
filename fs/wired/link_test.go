package wired

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/fs/journal"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// flipping is a store that some bodies come to with one bit that is another.
type flipping struct {
	s3client.Store
	bodies atomic.Int64 // how many more
	fails  atomic.Int64 // how many of those that come then are not taken
	then   func()       // behind each of them, before its answer
}

func (f *flipping) Put(ctx context.Context, req s3client.PutRequest) (s3client.Object, error) {
	switch {
	case req.Size == 0:
		return f.Store.Put(ctx, req)
	case f.bodies.Add(-1) >= 0:
	case f.fails.Add(-1) >= 0:
		return s3client.Object{}, &s3client.Error{Op: "PUT Object", Kind: s3client.Denied, Status: 403}
	default:
		return f.Store.Put(ctx, req)
	}
	p, err := io.ReadAll(io.NewSectionReader(req.Body, 0, req.Size))
	if err != nil {
		return s3client.Object{}, err
	}
	p[0] ^= 1
	req.Body = bytes.NewReader(p)
	o, err := f.Store.Put(ctx, req)
	if f.then != nil {
		f.then()
	}
	return o, err
}

// A link's target is compared with what the store says it has got, as a small file is: sent once more when it is something
// else, and no link that leads elsewhere stays behind an error.
func TestALinkIsVerified(t *testing.T) {
	for _, c := range []struct {
		name   string
		verify upload.Verify
		bodies int64
		fails  int64
		behind bool
		then   string // stored by somebody else behind each wrong body
		err    bool
		want   string // "": nothing
	}{
		{name: "right", want: "some/where"},
		{name: "once", bodies: 1, want: "some/where"},
		{name: "once, full", verify: upload.VerifyFull, bodies: 1, want: "some/where"},
		{name: "once, off", verify: upload.VerifyOff, bodies: 1, want: "rome/where"},
		{name: "twice", bodies: 2, err: true},
		{name: "once, and refused then", bodies: 1, fails: 1, err: true},
		{name: "twice, and another's is there by then", bodies: 2, then: "theirs", err: true, want: "theirs"},
		{name: "once, in the background", bodies: 1, behind: true, want: "some/where"},
		{name: "often, in the background", bodies: 7, behind: true, want: "some/where"},
		{name: "once, in the background, off", verify: upload.VerifyOff, bodies: 1, behind: true, want: "rome/where"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := s3mem.New(s3mem.WithBuckets("b"))
				bad := &flipping{Store: mem}
				bad.bodies.Store(c.bodies)
				bad.fails.Store(c.fails)
				if c.then != "" {
					bad.then = func() { mem.PutBytes("b", "l", []byte(c.then), s3client.Headers{}) }
				}
				j, err := journal.OpenWith(journal.Options{Dir: filepath.Join(t.TempDir(), "j"), Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				r := Open(t.Context(), Options{Store: bad, Journal: j, Log: slog.New(slog.DiscardHandler), Bucket: "b", Full: true, Behind: c.behind,
					Verify: c.verify, TTL: time.Minute, StoreID: "store", Limits: upload.LimitsOf(mem.Profile(), 0),
					Memory: Memory{Blocks: 8 << 20, Ahead: 1 << 20, Names: 1000}})
				_, err = r.Tree.Symlink(t.Context(), "l", "some/where", tree.Attr{})
				switch {
				case (err != nil) != c.err:
					t.Errorf("link: %v", err)
				case c.err && errors.Is(err, s3client.NotFound), c.err && c.fails == 0 && !errors.Is(err, s3client.Unknown):
					t.Errorf("link: %v", err)
				}
				time.Sleep(time.Minute) // what is in the background has its pauses
				if got, there := mem.Bytes("b", "l"); string(got) != c.want || there != (c.want != "") {
					t.Errorf("the store has %q, %v; want %q", got, there, c.want)
				}
				if target, err := r.Tree.Readlink(t.Context(), "l"); !c.err && c.verify != upload.VerifyOff && (err != nil || target != "some/where") {
					t.Errorf("the mount shows %q, %v", target, err)
				}
				if err := errors.Join(r.Close(t.Context()), j.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
