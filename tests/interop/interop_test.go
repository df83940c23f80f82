// Package interop holds the tests of other people's tools on the buckets that pailfs mounts: what one has written the other
// reads, byte for byte, with sizes, ETags, metadata and content types. The tools are Debian's AWS CLI and boto3; s3fs is in
// tests/mount, rclone here behind the tag "rclone", since it takes minutes to build.
//
// docs/API.md is held to the tests that it names here as well (api_test.go).
package interop

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	toolLimit = 2 * time.Minute
	// firstPart is what the parts of an upload of pailfs begin with; the AWS CLI's and boto3's have as much.
	firstPart = 8 << 20
	largeSize = 21_000_000 // above what goes by one PUT, and three parts
)

// world is a store with a bucket, and what looks into it.
type world struct {
	t      *testing.T
	s      *testenv.Server
	bucket string
	home   string // of the tools: no configuration of whoever runs the tests
}

func newWorld(t *testing.T) *world {
	t.Helper()
	testenv.Require(t)
	w := &world{t: t, s: testenv.Store(t), home: t.TempDir()}
	w.bucket = w.s.Bucket(t)
	config := "[default]\nregion = " + w.s.Region + "\ns3 =\n    addressing_style = path\n"
	if err := os.WriteFile(filepath.Join(w.home, "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// mount mounts the bucket; what others change is seen at once.
func (w *world) mount(options ...testenv.Option) *testenv.MountPoint {
	w.t.Helper()
	return testenv.Mount(w.t, w.s, append([]testenv.Option{testenv.Of(w.bucket), testenv.TTL(0)}, options...)...)
}

// env is a tool's environment.
func (w *world) env() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "PYTHON") {
			env = append(env, v)
		}
	}
	// Newer editions add checksums in a trailer to whatever they send, which Swift before 2.35 refuses.
	return append(append(env, w.s.Env()...), "HOME="+w.home, "AWS_CONFIG_FILE="+filepath.Join(w.home, "config"), "AWS_PAGER=",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_REQUEST_CHECKSUM_CALCULATION=when_required",
		"AWS_RESPONSE_CHECKSUM_VALIDATION=when_required", "LC_ALL=C.UTF-8")
}

// tool is the first of some programs that works: Debian's before others of the same name. Without one the test is skipped.
func (w *world) tool(debian string, words []string, paths ...string) string {
	w.t.Helper()
	for _, path := range paths {
		cmd := exec.CommandContext(w.t.Context(), path, words...)
		cmd.Env = w.env()
		if cmd.Run() == nil {
			return path
		}
	}
	testenv.Skip(w.t, "not installed: "+debian)
	return ""
}

// awsCLI is the AWS CLI for the world's store.
type awsCLI struct {
	w    *world
	path string
}

func (w *world) awsCLI() awsCLI {
	w.t.Helper()
	return awsCLI{w, w.tool("awscli", []string{"--version"}, "/usr/bin/aws", "aws")}
}

// run gives what it says on its standard output.
func (a awsCLI) run(args ...string) []byte {
	a.w.t.Helper()
	out, err := a.try(args...)
	if err != nil {
		a.w.t.Fatal(err)
	}
	return out
}

func (a awsCLI) try(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(a.w.t.Context(), toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.path, append([]string{"--endpoint-url", a.w.s.Endpoint, "--output", "json"}, args...)...)
	cmd.Env, cmd.Dir = a.w.env(), a.w.home
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("aws %q: %w\n%s%s", args, err, out, errs.Bytes())
	}
	return out, nil
}

// object is what head-object says.
func (a awsCLI) object(key string) (o object) {
	a.w.t.Helper()
	out := a.run("s3api", "head-object", "--bucket", a.w.bucket, "--key", key)
	if err := json.Unmarshal(out, &o); err != nil {
		a.w.t.Fatalf("%v\n%s", err, out)
	}
	return o
}

// listed are the keys of list-objects-v2 with their sizes and ETags.
func (a awsCLI) listed() map[string]object {
	a.w.t.Helper()
	out := a.run("s3api", "list-objects-v2", "--bucket", a.w.bucket)
	var page struct{ Contents []object }
	if len(out) == 0 {
		return nil
	}
	if err := json.Unmarshal(out, &page); err != nil {
		a.w.t.Fatalf("%v\n%s", err, out)
	}
	return byKey(page.Contents)
}

// object is what both tools say of an object, in a listing and of itself.
type object struct {
	Key                                                                             string
	Size, ContentLength                                                             int64
	ETag                                                                            string
	ContentType, ContentEncoding, CacheControl, ContentDisposition, ContentLanguage string
	Metadata                                                                        map[string]string
	Body                                                                            []byte
}

func byKey(all []object) map[string]object {
	m := make(map[string]object, len(all))
	for _, o := range all {
		m[o.Key] = o
	}
	return m
}

// pailfs runs a command of pailfs on the store, beside a mount (nil: none).
func (w *world) pailfs(m *testenv.MountPoint, args ...string) []byte {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), testenv.Binary(w.t), append(args, "--endpoint", w.s.Endpoint, "--region", w.s.Region)...)
	cmd.Env = append(os.Environ(), w.s.Env()...)
	if m != nil {
		cmd.Env = append(m.RunEnv(), w.s.Env()...)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("pailfs %q: %v\n%s%s", args, err, out, errs.Bytes())
	}
	return out
}

// sh runs a script in a directory and gives its output without the last newline.
func sh(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.WaitDelay = dir, time.Minute
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\nscript: %s\noutput: %s", err, script, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		at := 0
		for at < len(got) && at < len(want) && got[at] == want[at] {
			at++
		}
		t.Errorf("%s: %d bytes, want %d; they part at byte %d", what, len(got), len(want), at)
	}
}

// eventually waits for what another host sees a moment later.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// noise is n bytes that do not repeat and differ by seed.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	x := uint64(seed)*2654435761 + 88172645463325252
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return b
}

// etagOf is the ETag, as answers have it, of bytes that went by one PUT (part 0) or in parts.
func etagOf(content []byte, part int) string {
	if part == 0 {
		sum := md5.Sum(content)
		return `"` + hex.EncodeToString(sum[:]) + `"`
	}
	var sums []byte
	n := 0
	for off := 0; off < len(content); off += part {
		sum := md5.Sum(content[off:min(off+part, len(content))])
		sums, n = append(sums, sum[:]...), n+1
	}
	sum := md5.Sum(sums)
	return fmt.Sprintf(`"%s-%d"`, hex.EncodeToString(sum[:]), n)
}

// oddNames are names that are keys on every store.
var oddNames = []string{"a b", " lead", "trail ", "a+b", "a%20b", "a%2Fb", "a&b=c", "it's", `say "x"`, "<x>", "#h?q=1", "semi;colon,comma", "st*r", "~tilde",
	"{brace}|^`", "-rf", "...", ".hidden", "\u00e9", "e\u0301", "한글", "\U0001F600", "case", "CASE", "tab\tx", "nl\nx"}

// names are those of them that the store takes and lists: versitygw lists no control character.
func (w *world) names() (names []string) {
	for _, n := range oddNames {
		if w.s.Name != "versitygw" || !strings.ContainsAny(n, "\t\n") {
			names = append(names, n)
		}
	}
	return names
}
