package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// TestMain is the program itself when a test has started it.
func TestMain(m *testing.M) {
	if os.Getenv("DEMOSTORE_MAIN") == "1" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ready ready
	ended chan error
}

// startProcess runs the program; it ends with the test at the latest.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], append([]string{"--dir", t.TempDir(), "--access", "key"}, args...)...), ended: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), "DEMOSTORE_MAIN=1", "DEMOSTORE_SECRET=secretkey")
	p.cmd.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	if err := errors.Join(err, json.Unmarshal(line, &p.ready)); err != nil {
		t.Fatalf("ready line %q: %v", line, err)
	}
	return p
}

func (p *process) endsWithin(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(d):
		t.Errorf("runs %v after its end was asked for", d)
	}
}

func (p *process) client(t *testing.T, region, secret string) *minio.Core {
	t.Helper()
	u, err := url.Parse(p.ready.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c, err := minio.NewCore(u.Host, &minio.Options{Creds: credentials.NewStaticV4("key", secret, ""), Region: region,
		BucketLookup: minio.BucketLookupPath, MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEnds(t *testing.T) {
	p := startProcess(t, "--exit-with-stdin")
	if p.ready.PID != p.cmd.Process.Pid || p.ready.Region != "KR1" || p.ready.Access != "key" {
		t.Errorf("ready line: %+v", p.ready)
	}
	p.stdin.Close()
	p.endsWithin(t, 2*shutdownGrace)

	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p = startProcess(t)
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		p.endsWithin(t, 2*shutdownGrace)
	}
}

func TestSignatures(t *testing.T) {
	p := startProcess(t, "--region", "JP1")
	for _, c := range []struct {
		region, secret, code string
	}{{"JP1", "secretkey", ""}, {"JP1", "wrong", "SignatureDoesNotMatch"}, {"KR1", "secretkey", "AuthorizationHeaderMalformed"}} {
		_, err := p.client(t, c.region, c.secret).ListBuckets(t.Context())
		if got := minio.ToErrorResponse(err).Code; got != c.code {
			t.Errorf("%s/%s: %q (%v), want %q", c.region, c.secret, got, err, c.code)
		}
	}
}

// TestCopies holds the store to what it once refused by default: copies of objects and of their ranges.
func TestCopies(t *testing.T) {
	c := startProcess(t).client(t, "KR1", "secretkey")
	ctx := t.Context()
	if err := c.MakeBucket(ctx, "bucket", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 6<<20/16)
	src, err := c.PutObject(ctx, "bucket", "a b/한글", bytes.NewReader(body), int64(len(body)), "", "", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.CopyObject(ctx, minio.CopyDestOptions{Bucket: "bucket", Object: "copy"},
		minio.CopySrcOptions{Bucket: "bucket", Object: "a b/한글", MatchETag: src.ETag}); err != nil {
		t.Errorf("copy: %v", err)
	}
	id, err := c.NewMultipartUpload(ctx, "bucket", "joined", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p1, err := c.CopyObjectPart(ctx, "bucket", "a b/한글", "bucket", "joined", id, 1, 0, 5<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	p2, err := c.PutObjectPart(ctx, "bucket", "joined", id, 2, strings.NewReader("tail"), 4, minio.PutObjectPartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CompleteMultipartUpload(ctx, "bucket", "joined", id, []minio.CompletePart{p1,
		{PartNumber: 2, ETag: p2.ETag}}, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	got := read(ctx, t, c, "bucket", "joined", minio.GetObjectOptions{})
	if want := string(body[:5<<20]) + "tail"; got != want {
		t.Errorf("joined object has %d bytes, want %d", len(got), len(want))
	}
	var o minio.GetObjectOptions
	if err := o.SetMatchETag("0123"); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := c.GetObject(ctx, "bucket", "copy", o); minio.ToErrorResponse(err).StatusCode != 412 {
		t.Errorf("GET of another version: %v, want 412", err)
	}
}

func read(ctx context.Context, t *testing.T, c *minio.Core, bucket, key string, o minio.GetObjectOptions) string {
	t.Helper()
	body, _, _, err := c.GetObject(ctx, bucket, key, o)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSamples(t *testing.T) {
	c := startProcess(t, "--samples", "--sample-bytes", "20000000").client(t, "KR1", "secretkey")
	count := map[string]int{}
	buckets, err := c.ListBuckets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range buckets {
		count[b.Name] = 0
		for o := range c.ListObjectsIter(t.Context(), b.Name, minio.ListObjectsOptions{Recursive: true}) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			count[b.Name]++
			if o.Key == "disk-image.bin" && o.Size != 20000000 {
				t.Errorf("%s has %d bytes", o.Key, o.Size)
			}
		}
	}
	if want := map[string]int{"documents": 8, "events": sampleFiles, "backups": 1, "empty-bucket": 0}; fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("objects: %v, want %v", count, want)
	}
	if got := read(t.Context(), t, c, "documents", "보고서/2024년 3분기 보고서.txt", minio.GetObjectOptions{}); !strings.Contains(got, "한글") {
		t.Errorf("content %q", got)
	}
}

func TestOptions(t *testing.T) {
	for _, args := range [][]string{{}, {"--dir", "x", "y"}, {"--dir", "x", "--print", "xml"}, {"--dir", "x", "--access", ""},
		{"--dir", "x", "--sample-bytes", "-1"}, {"--no-such"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	for _, listen := range []string{"localhost:0", "127.0.0.1", ":9000"} {
		if host, err := listenAddress(listen); err == nil {
			t.Errorf("--listen %s: host %q", listen, host)
		}
	}
}
