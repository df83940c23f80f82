package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sys/unix"

	"pailfs/tests/lagproxy"
)

const (
	accessKey = "bench"
	secretKey = "benchsecret"
	region    = "KR1"
	bucket    = "bench"
	coldKey   = "cold.bin" // read by everyone, written once
)

// rig is the store, the proxy before it and the programs.
type rig struct {
	o       options
	dir     string // everything temporary
	pailfs  string
	load    string // average before anything was started
	content *content
	store   *child // direct is its endpoint
	proxy   *child
	direct  *raw // past the proxy, to prepare and verify
}

func newRig(ctx context.Context, o options) (r *rig, err error) {
	r = &rig{o: o, load: load()}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	base := o.dir
	if base == "" {
		base = memoryDir(int64(o.sizeMiB) * 3 * mib)
	}
	if r.dir, err = os.MkdirTemp(base, "pailfs-bench-"); err != nil {
		return r, err
	}
	if err := r.build(ctx); err != nil {
		return r, err
	}
	if err := r.startServers(); err != nil {
		return r, err
	}
	if r.direct, err = newRaw(r.store.ready["endpoint"]); err != nil {
		return r, err
	}
	r.content = newContent(o.sizeMiB * mib)
	if err := r.direct.core.MakeBucket(ctx, bucket, minio.MakeBucketOptions{Region: region}); err != nil {
		return r, err
	}
	_, err = r.direct.write(ctx, coldKey, r.content)
	return r, err
}

// memoryDir is /dev/shm where that has extended attributes and room, so that no disk is measured.
func memoryDir(need int64) string {
	const shm = "/dev/shm"
	var fs unix.Statfs_t
	if err := unix.Statfs(shm, &fs); err != nil || int64(fs.Bavail)*fs.Bsize < need {
		return os.TempDir()
	}
	f, err := os.CreateTemp(shm, "pailfs-bench-")
	if err != nil {
		return os.TempDir()
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := unix.Fsetxattr(int(f.Fd()), "user.bench", []byte("1"), 0); err != nil {
		return os.TempDir()
	}
	return shm
}

func (r *rig) build(ctx context.Context) error {
	root, err := repository()
	if err != nil {
		return err
	}
	for _, p := range []struct{ name, dir, pkg string }{
		{"demostore", "contrib/demostore", "."},
		{"lagproxy", ".", "./tests/lagproxy/cmd/lagproxy"},
		{"pailfs", ".", "./cmd/pailfs"},
	} {
		if p.name == "pailfs" && r.o.binary != "" {
			if r.pailfs, err = filepath.Abs(r.o.binary); err != nil {
				return err
			}
			continue
		}
		args := []string{"build", "-trimpath", "-o", r.program(p.name)}
		if p.name == "pailfs" {
			args = append(args, "-ldflags", "-X main.version="+describe(root))
		}
		cmd := exec.CommandContext(ctx, "go", append(args, p.pkg)...)
		cmd.Dir, cmd.Env = filepath.Join(root, p.dir), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", p.name, err, out)
		}
	}
	if r.pailfs == "" {
		r.pailfs = r.program("pailfs")
	}
	return nil
}

func (r *rig) program(name string) string { return filepath.Join(r.dir, name) }

func repository() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("run it inside the repository: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// describe is the version of the checkout, as `make build` names it.
func describe(root string) string {
	cmd := exec.Command("git", "describe", "--tags", "--always", "--dirty")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "devel"
	}
	return strings.TrimSpace(string(out))
}

func (r *rig) startServers() (err error) {
	args := []string{"--dir", filepath.Join(r.dir, "store"), "--access", accessKey, "--secret", secretKey, "--region", region}
	if !r.o.md5 {
		args = append(args, "--fast-etag")
	}
	if r.store, err = startChild(r.program("demostore"), args...); err != nil {
		return err
	}
	r.proxy, err = startChild(r.program("lagproxy"), "--backend", strings.TrimPrefix(r.store.ready["endpoint"], "http://"),
		"--latency", r.o.latency.String(), "--rate", strconv.FormatInt(r.o.rate, 10))
	return err
}

// endpoint is the store seen from far away.
func (r *rig) endpoint() string { return r.proxy.ready["endpoint"] }

func (r *rig) reset() error {
	resp, err := http.Post(r.proxy.ready["admin"]+"/reset", "", nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (r *rig) counts() (c lagproxy.Counts, err error) {
	resp, err := http.Get(r.proxy.ready["admin"] + "/counts")
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	return c, json.NewDecoder(resp.Body).Decode(&c)
}

func (r *rig) close() error {
	if r.direct != nil {
		r.direct.close()
	}
	for _, c := range []*child{r.proxy, r.store} {
		if c != nil {
			c.stop()
		}
	}
	if r.dir == "" {
		return nil
	}
	return os.RemoveAll(r.dir)
}

// child is a server that prints one JSON line when it is ready and ends when its standard input closes.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ready map[string]string
}

func startChild(path string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(path, append(args, "--exit-with-stdin")...)}
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var fields map[string]any
	if err == nil {
		err = json.Unmarshal(line, &fields)
	}
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("%s did not start: %w", filepath.Base(path), err)
	}
	c.ready = map[string]string{}
	for k, v := range fields {
		c.ready[k] = fmt.Sprint(v)
	}
	return c, nil
}

func (c *child) stop() {
	c.stdin.Close()
	timer := time.AfterFunc(5*time.Second, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	c.cmd.Wait() // its status does not matter any more
}
