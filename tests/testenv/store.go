package testenv

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
)

// storeTimeout bounds each look into the store by a helper.
const storeTimeout = time.Minute

// Server is an S3 server that tests mount, and a client to look into it past the mount.
type Server struct {
	Endpoint, Region     string
	AccessKey, SecretKey string
	// Name is the server's kind: "versitygw" for the embedded one, else PAILFS_TEST_SERVER ("swift", "minio", ...).
	Name string
	// Provider is the profile's name for --provider: PAILFS_TEST_PROVIDER, or "" to let the program find out.
	Provider string
	// External says that the server is not the test's own: other buckets may be there.
	External bool
	// Client talks to the server directly.
	Client s3client.Store

	embedded *embedded
}

// Store gives the test a server: the one in the environment, or one of its own.
func Store(t testing.TB) *Server {
	t.Helper()
	if endpoint := os.Getenv("PAILFS_TEST_ENDPOINT"); endpoint != "" {
		s := &Server{
			Endpoint: endpoint, Region: os.Getenv("PAILFS_TEST_REGION"),
			AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
			Name: os.Getenv("PAILFS_TEST_SERVER"), Provider: os.Getenv("PAILFS_TEST_PROVIDER"), External: true,
		}
		if s.Region == "" || s.AccessKey == "" || s.SecretKey == "" {
			t.Fatal("PAILFS_TEST_ENDPOINT is set: PAILFS_TEST_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be, too")
		}
		s.connect(t)
		return s
	}
	return StoreIn(t, shortDir(t))
}

// StoreIn starts a server of its own whatever the environment says, over the buckets of a directory.
func StoreIn(t testing.TB, dir string) *Server {
	t.Helper()
	return StoreAs(t, dir, "KR1", "test", "testsecret")
}

// StoreAs is StoreIn with a region and a key that the test says.
func StoreAs(t testing.TB, dir, region, access, secret string) *Server {
	t.Helper()
	s := &Server{AccessKey: access, SecretKey: secret, Region: region, Name: "versitygw"}
	s.embedded = startEmbedded(t, s, dir, "127.0.0.1:0")
	s.connect(t)
	return s
}

func (s *Server) connect(t testing.TB) {
	t.Helper()
	c, err := s3client.Open(s3client.Config{
		Region: s.Region, Endpoint: s.Endpoint, Provider: s.Provider, UserAgent: "pailfs-test",
		Credentials: s3client.CredentialsConfig{AccessKey: s.AccessKey, SecretKey: s.SecretKey},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Client = c
}

// Env is the environment with this server's credentials, for a program that is started beside the mount.
func (s *Server) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey}
}

// Stop ends an embedded server at once, as an outage does; Start brings it back at the same address with its data.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.External {
		t.Fatal("only an embedded server can be stopped")
	}
	s.embedded.kill()
}

// Start brings a stopped server back.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.embedded = startEmbedded(t, s, s.embedded.dir, strings.TrimPrefix(s.Endpoint, "http://"))
}

// Bucket makes a bucket with a name of its own. On a server that is not the test's own it is emptied and deleted at the
// test's end.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	name := "pft-" + hex.EncodeToString(b[:])
	ctx, cancel := context.WithTimeout(t.Context(), storeTimeout)
	defer cancel()
	if err := s.Client.CreateBucket(ctx, name); err != nil {
		t.Fatal(err)
	}
	if s.External {
		t.Cleanup(func() { s.RemoveBucket(t, name) })
	}
	return name
}

// RemoveBucket deletes a bucket and all that is in it, unfinished uploads included.
func (s *Server) RemoveBucket(t testing.TB, bucket string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*storeTimeout)
	defer cancel()
	// A store whose listings lag behind shows objects late: another look finds them.
	var err error
	for range 10 {
		if err = s.empty(ctx, bucket); err == nil {
			err = s.Client.DeleteBucket(ctx, bucket)
		}
		if err == nil || errors.Is(err, s3client.NotFound) {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	t.Errorf("removing bucket %s: %v", bucket, err)
}

func (s *Server) empty(ctx context.Context, bucket string) error {
	uploads, err := s.Client.Uploads(ctx, bucket, "")
	if err != nil && !errors.Is(err, s3client.Unsupported) {
		return err
	}
	for _, u := range uploads {
		if err := s.Client.AbortUpload(ctx, bucket, u.Key, u.ID); err != nil && !errors.Is(err, s3client.NotFound) {
			return err
		}
	}
	keys, err := s.list(ctx, bucket, "")
	if err != nil {
		return err
	}
	failed, err := s.Client.DeleteMany(ctx, bucket, keys)
	if err == nil && len(failed) > 0 {
		err = failed[0].Err
	}
	return err
}

func (s *Server) list(ctx context.Context, bucket, prefix string) ([]string, error) {
	var keys []string
	for after := ""; ; {
		page, err := s.Client.List(ctx, s3client.ListRequest{Bucket: bucket, Prefix: prefix, After: after})
		if err != nil {
			return nil, err
		}
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		if after = page.Next; after == "" {
			return keys, nil
		}
	}
}

// Keys lists all keys under a prefix, past the mount.
func (s *Server) Keys(t testing.TB, bucket, prefix string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), storeTimeout)
	defer cancel()
	keys, err := s.list(ctx, bucket, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Put writes an object past the mount and returns what the store says of it.
func (s *Server) Put(t testing.TB, bucket, key string, content []byte, meta map[string]string) s3client.Object {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), storeTimeout)
	defer cancel()
	o, err := s.Client.Put(ctx, s3client.PutRequest{
		Bucket: bucket, Key: key, Headers: s3client.Headers{Meta: meta},
		Body: bytes.NewReader(content), Size: int64(len(content)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Get reads an object past the mount; the test fails when it is not there.
func (s *Server) Get(t testing.TB, bucket, key string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), storeTimeout)
	defer cancel()
	body, _, err := s.Client.Get(ctx, s3client.GetRequest{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Head reads an object's attributes past the mount; ok is false when the store says that there is none.
func (s *Server) Head(t testing.TB, bucket, key string) (o s3client.Object, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), storeTimeout)
	defer cancel()
	o, err := s.Client.Head(ctx, bucket, key)
	if errors.Is(err, s3client.NotFound) {
		return o, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return o, true
}

// embedded is a running demostore process.
type embedded struct {
	dir   string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}
	once  sync.Once
}

// startEmbedded starts a demostore and fills in the server's endpoint. The process ends with the test, and with this
// process whatever happens to it: its standard input closes then.
func startEmbedded(t testing.TB, s *Server, dir, listen string) *embedded {
	t.Helper()
	e := &embedded{dir: dir, ended: make(chan struct{})}
	e.cmd = exec.Command(Demostore(t), "--dir", dir, "--listen", listen, "--access", s.AccessKey,
		"--region", s.Region, "--exit-with-stdin")
	e.cmd.Env = append(os.Environ(), "DEMOSTORE_SECRET="+s.SecretKey)
	var stderr bytes.Buffer
	e.cmd.Stderr = &stderr
	stdin, err := e.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	e.stdin = stdin
	stdout, err := e.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadBytes('\n')
	go func() {
		e.cmd.Wait() // the status of a killed process says nothing
		close(e.ended)
	}()
	t.Cleanup(e.kill)
	var ready struct{ Endpoint string }
	if err := errors.Join(readErr, json.Unmarshal(line, &ready)); err != nil {
		e.kill()
		t.Fatal(fmt.Errorf("the S3 server did not start: %w\n%s", err, stderr.Bytes()))
	}
	s.Endpoint = ready.Endpoint
	return e
}

// kill ends the process and waits for its end.
func (e *embedded) kill() {
	e.once.Do(func() {
		e.cmd.Process.Kill() // fails only when it has ended already
		e.stdin.Close()
	})
	<-e.ended
}
