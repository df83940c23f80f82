package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// tryWriting makes the trials of --write in a store in memory that has an object already.
func tryWriting(t *testing.T, store s3client.Store, ctx context.Context) *doctor {
	t.Helper()
	d := newTestDoctor(t, "")
	d.bucket, d.prefix, d.write = "data", "p/", true
	d.checkBucket(ctx, store, subject{command: "doctor", bucket: "data", endpoint: "http://store.example.com", now: time.Now})
	return d
}

func newData() *s3mem.Store {
	mem := s3mem.New(s3mem.WithBuckets("data"))
	mem.PutBytes("data", "p/theirs", []byte("x"), s3client.Headers{})
	mem.PutBytes("data", "other", []byte("x"), s3client.Headers{})
	return mem
}

// clean fails unless the bucket is as it was.
func untouched(t *testing.T, mem *s3mem.Store, what string) {
	t.Helper()
	if keys := mem.Keys("data"); fmt.Sprint(keys) != "[other p/theirs]" {
		t.Errorf("%s: %q is left", what, keys)
	}
	if left := mem.PendingUploads("data"); len(left) != 0 {
		t.Errorf("%s: uploads are left: %+v", what, left)
	}
}

func TestDoctorWritesAndCleansUp(t *testing.T) {
	mem := newData()
	d := tryWriting(t, mem, t.Context())
	for _, check := range []string{checkList, checkRead, checkRegion, checkUploads, checkWrite, checkCopy, checkParts, checkDelete, checkKeys} {
		d.expect(t, check, isOK, "", "")
	}
	c := d.capabilities()
	if !*c.ConditionalCopy || !*c.ConditionalComplete {
		t.Errorf("%+v", c)
	}
	untouched(t, mem, "all well")
}

// Without --write nothing but reads is asked.
func TestDoctorReadsOnly(t *testing.T) {
	mem := newData()
	fault := s3fault.New(mem)
	for _, call := range []string{"Put", "Copy", "Delete", "DeleteMany", "CreateUpload", "UploadPart", "CompleteUpload", "AbortUpload", "CreateBucket", "SetBucketACL"} {
		fault.Add(s3fault.Rule{Call: call, Hook: func(_ context.Context, c s3fault.Call) error {
			t.Errorf("asked %+v", c)
			return nil
		}})
	}
	d := newTestDoctor(t, "")
	d.bucket = "data"
	d.checkBucket(t.Context(), fault, subject{bucket: "data", now: time.Now})
	d.expect(t, checkRead, isOK, "allowed", "")
	d.expect(t, checkWrite, notChecked, "only with --write", "")
}

// Whatever is refused or gets lost, each failure is told, and what was made is deleted, or said to be left.
func TestDoctorCleansUpBehindEachFailure(t *testing.T) {
	denied := &s3client.Error{Kind: s3client.Denied, Status: 403, Code: "AccessDenied"}
	away := &s3client.Error{Kind: s3client.Temporary, Err: errors.New("connection reset")}
	for _, c := range []struct {
		call, check string
		after       bool // the call was made, and its answer got lost
		err         *s3client.Error
		nth         int
	}{
		{"Put", checkWrite, false, denied, 0}, {"Put", checkWrite, true, away, 0}, {"Copy", checkCopy, false, denied, 1}, {"Copy", checkCopy, true, away, 1},
		{"CreateUpload", checkParts, false, denied, 1}, {"CreateUpload", checkParts, true, away, 1}, {"CreateUpload", checkParts, true, away, 2},
		{"UploadPart", checkParts, false, denied, 1}, {"UploadPart", checkParts, true, away, 2}, {"CompleteUpload", checkParts, false, denied, 1},
		{"CompleteUpload", checkParts, true, away, 1}, {"CompleteUpload", checkParts, false, denied, 2},
	} {
		t.Run(fmt.Sprintf("%s %d %v", c.call, c.nth, c.after), func(t *testing.T) {
			mem := newData()
			fault := s3fault.New(mem)
			r := s3fault.Rule{Call: c.call, Nth: c.nth}
			if c.after {
				r.After = c.err
			} else {
				r.Before = c.err
			}
			rule := fault.Add(r)
			d := tryWriting(t, fault, t.Context())
			if rule.Struck() == 0 {
				t.Error("it was not asked")
			}
			d.expect(t, c.check, isFailed, "", "")
			untouched(t, mem, c.call)
			if c.call == "Put" && c.err == denied {
				d.expect(t, checkDelete, notChecked, "nothing was written", "")
			} else {
				d.expect(t, checkDelete, isOK, "", "")
			}
		})
	}
	for _, call := range []string{"DeleteMany", "AbortUpload"} {
		mem := newData()
		fault := s3fault.New(mem)
		fault.Add(s3fault.Rule{Call: call, Before: denied})
		d := tryWriting(t, fault, t.Context())
		d.expect(t, checkDelete, isFailed, "may be left: data/p/"+doctorPrefix, "delete what lies below")
	}
}

// Ctrl-C in the midst of it takes away what was made.
func TestDoctorCleansUpWhenInterrupted(t *testing.T) {
	mem := newData()
	fault := s3fault.New(mem)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fault.Add(s3fault.Rule{Call: "UploadPart", Hook: func(ctx context.Context, _ s3fault.Call) error {
		cancel()
		<-ctx.Done()
		return &s3client.Error{Kind: s3client.Canceled, Err: ctx.Err()}
	}})
	d := tryWriting(t, fault, ctx)
	d.expect(t, checkParts, notChecked, "interrupted", "")
	d.expect(t, checkDelete, isOK, "deleted", "")
	untouched(t, mem, "interrupted")
}

// loose is a store that knows no condition.
type loose struct{ s3client.Store }

func (l loose) Copy(ctx context.Context, req s3client.CopyRequest) (s3client.Object, error) {
	req.SrcETag = ""
	return l.Store.Copy(ctx, req)
}

func (l loose) CompleteUpload(ctx context.Context, req s3client.CompleteRequest) (s3client.Object, error) {
	req.IfAbsent = false
	return l.Store.CompleteUpload(ctx, req)
}

// strict is a store that refuses conditions with 501, and forgets metadata.
type strict struct{ s3client.Store }

func (l strict) CompleteUpload(ctx context.Context, req s3client.CompleteRequest) (s3client.Object, error) {
	if req.IfAbsent {
		return s3client.Object{}, &s3client.Error{Kind: s3client.Unsupported, Status: 501}
	}
	return l.Store.CompleteUpload(ctx, req)
}

func (l strict) Put(ctx context.Context, req s3client.PutRequest) (s3client.Object, error) {
	req.Headers.Meta = nil
	return l.Store.Put(ctx, req)
}

func TestDoctorFindsOutConditions(t *testing.T) {
	mem := newData()
	d := tryWriting(t, loose{mem}, t.Context())
	d.expect(t, checkCopy, isWarning, "ignores the version", "rename")
	if c := d.capabilities(); *c.ConditionalCopy || *c.ConditionalComplete {
		t.Errorf("%+v", c)
	}
	untouched(t, mem, "loose")
	d = tryWriting(t, strict{mem}, t.Context())
	d.expect(t, checkWrite, isWarning, "metadata is lost", "--attributes=basic")
	d.expect(t, checkParts, isOK, "", "")
	if c := d.capabilities(); !*c.ConditionalCopy || *c.ConditionalComplete {
		t.Errorf("%+v", c)
	}
	untouched(t, mem, "strict")
}

func TestDoctorOfABucket(t *testing.T) {
	mem := newData()
	fault := s3fault.New(mem)
	denied := &s3client.Error{Kind: s3client.Denied, Status: 403, Code: "AccessDenied"}
	for _, call := range []string{"Head", "BucketLocation", "Uploads"} {
		fault.Add(s3fault.Rule{Call: call, Before: denied})
	}
	mem.PutBytes("data", "a//b", []byte("x"), s3client.Headers{})
	d := newTestDoctor(t, "")
	d.bucket = "data"
	d.checkBucket(t.Context(), fault, subject{bucket: "data", now: time.Now})
	d.expect(t, checkRead, isFailed, "denies", "owner")
	d.expect(t, checkRegion, notChecked, "does not tell", "")
	d.expect(t, checkUploads, isWarning, "cannot be listed", "allow")
	d.expect(t, checkKeys, isWarning, "1 of 3 objects", "--keys data")
	if f := d.at(t, checkKeys); len(f.More) != 1 || !strings.Contains(f.More[0], "a//b") {
		t.Errorf("%+v", f)
	}
	fault.Clear()
	if _, err := mem.CreateUpload(t.Context(), "data", "k", s3client.Headers{}); err != nil {
		t.Fatal(err)
	}
	d.report = report{}
	d.now = func() time.Time { return time.Now().Add(50 * time.Hour) }
	d.checkBucket(t.Context(), mem, subject{bucket: "data", now: d.now})
	d.expect(t, checkUploads, isWarning, "1 unfinished, the oldest begun 2d", "`pailfs uploads abort data`")
}
