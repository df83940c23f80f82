package s3test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
)

var contextBehaviours = []behaviour{
	{"every call ends with its context and does nothing", nil, testCanceled},
	{"a deadline that is over says Canceled", nil, testDeadline},
	{"a body ends with its context", nil, testBodyCanceled},
}

// readerAt is a body of these bytes.
func readerAt[T string | []byte](p T) io.ReaderAt { return strings.NewReader(string(p)) }

// everyCall makes each call of a Store once, on the shared bucket; id is an upload of "canceled/up".
func (s *suite) everyCall(ctx context.Context, id string, part s3client.Part) map[string]error {
	errs := make(map[string]error)
	st, b := s.store, s.bucket
	_, errs["Buckets"] = st.Buckets(ctx)
	errs["CreateBucket"] = st.CreateBucket(ctx, newName())
	errs["HeadBucket"] = st.HeadBucket(ctx, b)
	errs["DeleteBucket"] = st.DeleteBucket(ctx, b)
	_, errs["BucketLocation"] = st.BucketLocation(ctx, b)
	_, errs["BucketACL"] = st.BucketACL(ctx, b)
	errs["SetBucketACL"] = st.SetBucketACL(ctx, b, "private")
	_, errs["List"] = st.List(ctx, s3client.ListRequest{Bucket: b})
	_, errs["Head"] = st.Head(ctx, b, "canceled/there")
	_, _, errs["Get"] = s.read(ctx, s3client.GetRequest{Bucket: b, Key: "canceled/there"})
	_, errs["Put"] = st.Put(ctx, putRequest(b, "canceled/new", []byte("new"), s3client.Headers{}))
	_, errs["Copy"] = st.Copy(ctx, s3client.CopyRequest{SrcBucket: b, SrcKey: "canceled/there", Bucket: b,
		Key: "canceled/new"})
	errs["Delete"] = st.Delete(ctx, b, "canceled/there")
	_, errs["DeleteMany"] = st.DeleteMany(ctx, b, []string{"canceled/there"})
	_, errs["CreateUpload"] = st.CreateUpload(ctx, b, "canceled/other", s3client.Headers{})
	_, errs["UploadPart"] = st.UploadPart(ctx, s3client.PartRequest{Bucket: b, Key: "canceled/up", UploadID: id, Number: 2,
		Body: readerAt("x"), Size: 1})
	_, errs["CopyPart"] = st.CopyPart(ctx, s3client.CopyPartRequest{Bucket: b, Key: "canceled/up", UploadID: id, Number: 3,
		SrcBucket: b, SrcKey: "canceled/there", Length: 1})
	_, errs["CompleteUpload"] = st.CompleteUpload(ctx, s3client.CompleteRequest{Bucket: b, Key: "canceled/up", UploadID: id,
		Parts: []s3client.Part{part}, Size: part.Size})
	errs["AbortUpload"] = st.AbortUpload(ctx, b, "canceled/up", id)
	_, errs["Parts"] = st.Parts(ctx, b, "canceled/up", id)
	_, errs["Uploads"] = st.Uploads(ctx, b, "")
	return errs
}

func testCanceled(t *testing.T, s *suite) {
	s.put(t, "canceled/there", []byte("there"))
	id := s.begin(t, "canceled/up", s3client.Headers{})
	part := s.sendPart(t, "canceled/up", id, 1, []byte("part"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range s.everyCall(ctx, id, part) {
		wantKind(t, name, err, s3client.Canceled)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the error does not wrap context.Canceled: %v", name, err)
		}
	}
	s.wantObject(t, s.bucket, "canceled/there", []byte("there"), "")
	s.wantGone(t, s.bucket, "canceled/new")
	s.wantGone(t, s.bucket, "canceled/up")
	parts, err := s.store.Parts(t.Context(), s.bucket, "canceled/up", id)
	if err != nil || len(parts) != 1 {
		t.Errorf("parts after calls that were canceled: %v, %v", parts, err)
	}
	must(t, "abort", s.store.AbortUpload(t.Context(), s.bucket, "canceled/up", id))
}

func testDeadline(t *testing.T, s *suite) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := s.store.Head(ctx, s.bucket, "deadline")
	wantKind(t, "head", err, s3client.Canceled)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error does not wrap context.DeadlineExceeded: %v", err)
	}
}

func testBodyCanceled(t *testing.T, s *suite) {
	const size = 16 << 20 // more than lies ready on the way
	s.put(t, "canceled-body", random("canceled body", size))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body, _, err := s.store.Get(ctx, s3client.GetRequest{Bucket: s.bucket, Key: "canceled-body"})
	must(t, "get", err)
	defer body.Close()
	var first [1]byte
	if _, err := io.ReadFull(body, first[:]); err != nil {
		t.Fatalf("first byte: %v", err)
	}
	cancel()
	n, err := io.Copy(io.Discard, body)
	if err == nil {
		t.Errorf("a body whose context has ended delivered %d bytes and no error", n)
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("the body's error does not wrap context.Canceled: %v", err)
	}
}
