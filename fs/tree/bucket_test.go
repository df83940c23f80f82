package tree

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// mkdir can only say EINVAL: the log says which rule a name breaks.
func TestTheRuleThatABucketsNameBreaks(t *testing.T) {
	var log strings.Builder
	r := newRig(t, Options{BucketPattern: []string{"data-*", "bucket"}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for name, rule := range map[string]string{
		"ab": "3 to 63", strings.Repeat("l", 64): "3 to 63", "UPPER": "small letters", "under_score": "small letters", "한글버킷": "small letters",
		"x+segments": "small letters", "-dash": "begins and ends", "dash-": "begins and ends", "dot..dot": "a dot stands", "a.-b": "a dot stands",
		"192.168.5.4": "IP address", "xn--abc": "xn--", "other": "--bucket-pattern (data-*:bucket)",
	} {
		log.Reset()
		_, err := r.tree.Mkdir(r.ctx, name, Attr{})
		r.fails(err, ErrInvalid)
		if !strings.Contains(err.Error(), rule) || !strings.Contains(log.String(), rule) || !strings.Contains(log.String(), "level=INFO") {
			t.Errorf("%s: %v; log: %s", name, err, log.String())
		}
	}
	r.cost("")
	_, err := r.tree.Mkdir(r.ctx, "data-2", Attr{})
	r.ok(err)
}

func TestBucketPattern(t *testing.T) {
	r := newRig(t, Options{BucketPattern: []string{"buck*", "logs-??"}}, s3mem.WithBuckets("logs-01", "logs-001", "other"))
	r.mem.PutBytes("other", "x", nil, s3client.Headers{})
	r.missing("other") // without a request
	r.cost("")
	r.list("", "bucket/ logs-01/")
	r.missing("other")
	r.missing("logs-001")
	r.cost("L1")
	// where the list may not be read, a name is asked for by itself
	r.fault.Add(s3fault.Rule{Call: "Buckets", Before: s3client.Denied})
	r.clock.add(time.Hour)
	r.lookup("logs-01")
	r.missing("other")
}

// What another client makes or takes away is seen when the TTL is over.
func TestBucketsOfOtherClients(t *testing.T) {
	r := newRig(t, Options{TTL: 5 * time.Second})
	r.list("", "bucket/")
	r.missing("second")
	if err := r.mem.CreateBucket(r.ctx, "second"); err != nil {
		t.Fatal(err)
	}
	if err := r.mem.DeleteBucket(r.ctx, bkt); err != nil {
		t.Fatal(err)
	}
	r.missing("second")
	r.lookup(bkt)
	r.clock.add(6 * time.Second)
	r.lookup("second")
	r.missing(bkt)
	r.list("", "second/")
}

// A bucket that may not be read is shown; what is in it is refused, never missing or empty.
func TestABucketWithoutPermission(t *testing.T) {
	r := newRig(t, Options{}, s3mem.WithBuckets("closed"))
	r.mem.PutBytes("closed", "f", []byte("x"), s3client.Headers{})
	for _, call := range []string{"List", "Head", "Put", "Get"} {
		r.fault.Add(s3fault.Rule{Call: call, Bucket: "closed", Before: s3client.Denied})
	}
	r.list("", "bucket/ closed/")
	if e := r.lookup("closed"); !e.IsDir() {
		t.Errorf("%+v", e)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, s3client.Denied) || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := r.tree.Lookup(r.ctx, "closed/f")
	refused("lookup", err)
	for _, err = range r.tree.List(r.ctx, "closed") {
		refused("list", err)
	}
	if err == nil {
		t.Error("the listing has ended well")
	}
	_, err = r.tree.Mkdir(r.ctx, "closed/d", Attr{})
	refused("mkdir", err)
	refused("rmdir", r.tree.Rmdir(r.ctx, "closed"))
}

// A Swift deletes the parts of large objects before it asks whether the bucket is empty: what another host completes while
// its listings are late is waited for.
func TestRmdirLooksTwiceAtABucketOfASwift(t *testing.T) {
	for _, c := range []struct {
		name  string
		meets error
		come  func(ctx context.Context, mem *s3mem.Store)
	}{
		{"nothing", nil, func(context.Context, *s3mem.Store) {}},
		{"an object", ErrNotEmpty, func(_ context.Context, mem *s3mem.Store) { mem.PutBytes("second", "late", nil, s3client.Headers{}) }},
		{"an upload", ErrBusy, func(ctx context.Context, mem *s3mem.Store) {
			if _, err := mem.CreateUpload(ctx, "second", "big", s3client.Headers{}); err != nil {
				t.Error(err)
			}
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRigAt(t, Options{}, time.Now, s3mem.WithBuckets("second"), s3mem.WithProfile(s3client.Profile{Name: "swift", MaxDelete: 100}))
			begun := time.Now()
			time.AfterFunc(quietBucket/2, func() { c.come(t.Context(), r.mem) })
			err := r.tree.Rmdir(r.ctx, "second")
			if c.meets == nil {
				r.ok(err)
				if time.Since(begun) != quietBucket {
					t.Errorf("%s: after %v", c.name, time.Since(begun))
				}
				r.missing("second")
			} else {
				r.fails(err, c.meets)
				r.lookup("second")
			}
			r.fails(r.tree.Rmdir(r.ctx, ""), ErrBusy)
		})
	}
	// who gives up while it waits has deleted nothing
	synctest.Test(t, func(t *testing.T) {
		r := newRigAt(t, Options{}, time.Now, s3mem.WithBuckets("second"), s3mem.WithProfile(s3client.Profile{Name: "nhn", MaxDelete: 100}))
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		r.fails(r.tree.Rmdir(ctx, "second"), context.DeadlineExceeded)
		r.lookup("second")
	})
}
