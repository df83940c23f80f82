package s3test_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
	"pailfs/s3client/s3test"
)

// defective is a store with one defect.
type defective struct {
	s3client.Store
	defect string
}

func (d defective) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	page, err := d.Store.List(ctx, req)
	switch {
	case d.defect == "order":
		slices.Reverse(page.Objects)
	case d.defect == "after" && len(page.Objects) > 0 && page.Next != "":
		page.Next = page.Objects[0].Key
	}
	return page, err
}

func (d defective) Get(ctx context.Context, req s3client.GetRequest) (io.ReadCloser, s3client.Object, error) {
	switch d.defect {
	case "if-match":
		req.ETag = ""
	case "range":
		req.Length++
	}
	return d.Store.Get(ctx, req)
}

func (d defective) Head(ctx context.Context, bucket, key string) (s3client.Object, error) {
	o, err := d.Store.Head(ctx, bucket, key)
	if d.defect == "kind" && err != nil {
		return o, errors.New("404 not found")
	}
	return o, err
}

func (d defective) Copy(ctx context.Context, req s3client.CopyRequest) (s3client.Object, error) {
	if d.defect == "pin" {
		req.SrcETag = ""
	}
	return d.Store.Copy(ctx, req)
}

func (d defective) CompleteUpload(ctx context.Context, req s3client.CompleteRequest) (s3client.Object, error) {
	if d.defect == "exclusive" {
		req.IfAbsent = false
	}
	return d.Store.CompleteUpload(ctx, req)
}

func (d defective) DeleteMany(ctx context.Context, bucket string, keys []string) ([]s3client.KeyError, error) {
	if d.defect == "batch" && len(keys) > 200 {
		keys = keys[:200]
	}
	return d.Store.DeleteMany(ctx, bucket, keys)
}

func (d defective) Put(ctx context.Context, req s3client.PutRequest) (s3client.Object, error) {
	if d.defect == "context" {
		ctx = context.WithoutCancel(ctx)
	}
	return d.Store.Put(ctx, req)
}

// TestDefective is not a test of its own: TestSuiteFindsDefects runs it in other processes.
func TestDefective(t *testing.T) {
	defect := os.Getenv("PAILFS_TEST_DEFECT")
	if defect == "" {
		t.Skip("run by TestSuiteFindsDefects")
	}
	s3test.Run(t, func(*testing.T) s3client.Store {
		return defective{s3mem.New(s3mem.WithMinPart(64 << 10)), defect}
	}, s3test.Options{Server: "defective"})
}

func TestSuiteFindsDefects(t *testing.T) {
	for defect, behaviour := range map[string]string{
		"none": "", "order": "a flat listing", "after": "pages of 1", "if-match": "a read of one version",
		"range": "ranges give", "kind": "a missing key", "pin": "a copy of another version",
		"exclusive": "an exclusive completion says", "batch": "more than a thousand", "context": "every call ends",
	} {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			pattern := "^TestDefective$/^" + strings.ReplaceAll(behaviour, " ", "_")
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", pattern, "-test.v")
			cmd.Env = append(os.Environ(), "PAILFS_TEST_DEFECT="+defect)
			out, err := cmd.CombinedOutput()
			if found := err != nil; found != (defect != "none") {
				t.Errorf("the suite's end: %v\n%s", err, out)
			}
			if want := "--- FAIL: TestDefective/" + strings.ReplaceAll(behaviour, " ", "_"); defect != "none" &&
				!strings.Contains(string(out), want) {
				t.Errorf("%q is not in the output:\n%s", want, out)
			}
		})
	}
}
