package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sys/unix"

	"pailfs/tests/bench/store"
)

const (
	accessKey = "bench"
	secretKey = "benchsecret"
	region    = "us-east-1"
	bucket    = "bench"

	storeBench   = "bench"
	storeVersity = "versitygw"
)

// object is something in the store.
type object struct {
	key     string
	size    int64
	content content
}

func newObject(key string, size int64) object { return object{key, size, contentOf(key, size)} }

// rig is the store at its distance, what is in it, and the programs.
type rig struct {
	o        options
	dir      string // everything temporary, in memory
	disk     string // what has to lie on a disk; "" until it is needed
	programs map[string]string
	mounters []mounter // pailfs first, then the peers
	left     []string  // peers that could not be had, and why
	load     string    // average before anything was started

	servers []*child
	proxies map[string]*child // by link, with a store that has no distance of its own
	link    link
	direct  *raw // past the distance, to prepare and verify

	born    time.Time // when the objects were stored
	big     object
	small   []object
	par     []object
	source  *source         // of trees; nil until it is needed
	has     map[string]bool // prefixes of names that were stored for rows
	buffers [][]byte        // of the bare client, used again and again
}

func newRig(ctx context.Context, o options) (r *rig, err error) {
	r = &rig{o: o, load: load(), programs: map[string]string{}, has: map[string]bool{}, proxies: map[string]*child{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	base := o.dir
	if base == "" {
		base = memoryDir(o.sizeMiB * 4 * mib)
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
	if o.peers {
		r.addPeers(ctx)
	}
	for range parallel {
		r.buffers = append(r.buffers, make([]byte, rangeBytes))
	}
	for _, b := range r.buffers { // the kernel gives the memory now
		clear(b)
	}
	return r, r.prepare(ctx)
}

// prepare stores what is read.
func (r *rig) prepare(ctx context.Context) error {
	if err := r.direct.core.MakeBucket(ctx, bucket, minio.MakeBucketOptions{Region: region}); err != nil {
		return err
	}
	r.big = newObject("big.bin", r.o.sizeMiB*mib)
	for i := range r.o.files {
		r.small = append(r.small, newObject(fmt.Sprintf("small/%05d.bin", i), 16*kib))
	}
	for i := range parallel {
		r.par = append(r.par, newObject(fmt.Sprintf("par/%02d.bin", i), r.o.sizeMiB*mib/parallel))
	}
	wanted := []object{r.big}
	if slices.Contains(r.o.rows, "smallfiles") {
		wanted = append(wanted, r.small...)
	}
	if slices.Contains(r.o.rows, "parallel") {
		wanted = append(wanted, r.par...)
	}
	for _, o := range wanted {
		if err := r.direct.put(ctx, o); err != nil {
			return err
		}
	}
	r.born = time.Now()
	return nil
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

func (r *rig) startServers() error {
	if r.o.store == storeBench {
		c, err := startChild(r.programs["benchstore"], "--dir", filepath.Join(r.dir, "store"))
		if err != nil {
			return err
		}
		r.servers = append(r.servers, c)
		r.direct, err = newRaw(c.ready["direct"], parallel)
		return err
	}
	c, err := startChild(r.programs["demostore"], "--dir", filepath.Join(r.dir, "store"), "--access", accessKey,
		"--secret", secretKey, "--region", region, "--fast-etag")
	if err != nil {
		return err
	}
	r.servers = append(r.servers, c)
	for _, name := range r.o.links {
		l, _ := linkNamed(name)
		p, err := startChild(r.programs["lagproxy"], "--backend", strings.TrimPrefix(c.ready["endpoint"], "http://"),
			"--latency", l.latency.String(), "--rate", strconv.FormatInt(l.rate, 10))
		if err != nil {
			return err
		}
		r.servers, r.proxies[name] = append(r.servers, p), p
	}
	r.direct, err = newRaw(c.ready["endpoint"], parallel)
	return err
}

// counted is the server that clients talk to, which counts.
func (r *rig) counted() *child {
	if p, ok := r.proxies[r.link.name]; ok {
		return p
	}
	return r.servers[0]
}

// endpoint is the store seen from far away.
func (r *rig) endpoint() string { return r.counted().ready["endpoint"] }

// setLink puts the store at a distance.
func (r *rig) setLink(l link) error {
	r.link = l
	if r.o.store != storeBench {
		return nil
	}
	return r.post("/link?" + url.Values{"latency": {l.latency.String()}, "rate": {strconv.FormatInt(l.rate, 10)}}.Encode())
}

func (r *rig) reset() error { return r.post("/reset") }

func (r *rig) post(path string) error {
	resp, err := http.Post(r.counted().ready["admin"]+path, "", nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("%s: %s", path, resp.Status), resp.Body.Close())
	}
	return resp.Body.Close()
}

func (r *rig) counts() (c store.Counts, err error) {
	resp, err := http.Get(r.counted().ready["admin"] + "/counts")
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&c)
	if r.o.store != storeBench {
		c.Data = c.Out // the proxy does not tell them apart
	}
	return c, err
}

// serverCPU is what everything behind the endpoint has used, in seconds.
func (r *rig) serverCPU() (sum float64, err error) {
	for _, c := range r.servers {
		s, err := cpuOf(c.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += s
	}
	return sum, nil
}

// close ends the servers and removes what was made. A mount that is still there is taken away first: removing its
// directory would remove what is in the store.
func (r *rig) close() error {
	if r.direct != nil {
		r.direct.close()
	}
	var err error
	for _, dir := range []string{r.dir, r.disk} {
		if dir != "" {
			err = errors.Join(err, detachBelow(dir))
		}
	}
	for i := len(r.servers) - 1; i >= 0; i-- {
		r.servers[i].stop()
	}
	if err != nil {
		return err
	}
	for _, dir := range []string{r.dir, r.disk} {
		if dir != "" {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}
