package upload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// corrupting is a store that a network with bad memory lies in front of: some bodies arrive with a byte changed.
type corrupting struct {
	s3client.Store
	bodies atomic.Int64 // how many more arrive wrong
}

type flipped struct{ io.ReaderAt }

func (f flipped) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(p, off)
	if off == 0 && n > 0 {
		p[0]++
	}
	return n, err
}

func (c *corrupting) body(r io.ReaderAt) io.ReaderAt {
	if c.bodies.Add(-1) >= 0 {
		return flipped{r}
	}
	return r
}

func (c *corrupting) Put(ctx context.Context, r s3client.PutRequest) (s3client.Object, error) {
	r.Body = c.body(r.Body)
	return c.Store.Put(ctx, r)
}

func (c *corrupting) UploadPart(ctx context.Context, r s3client.PartRequest) (s3client.Part, error) {
	r.Body = c.body(r.Body)
	return c.Store.UploadPart(ctx, r)
}

func verifying(v Verify) setting { return func(o *Options) { o.Verify = v } }

func TestVerify(t *testing.T) {
	b := random(60*kib, 1)
	const put, all = "Put 1", "CreateUpload 1, UploadPart 5, CompleteUpload 1"
	for _, c := range []struct {
		name   string
		v      Verify
		size   int
		bodies int64
		want   string
		err    bool
	}{
		{"right", VerifyFull, 9, 0, put, false},
		{"once", VerifyFull, 9, 1, "Put 2", false},
		{"twice", VerifyFull, 9, 2, "Put 2", true},
		{"auto, right", VerifyAuto, 9, 0, put, false},
		{"auto, once", VerifyAuto, 9, 1, "Put 2", false},
		{"auto, twice", VerifyAuto, 9, 2, "Put 2", true},
		{"off", VerifyOff, 9, 1, put, false},
		{"parts, right", VerifyFull, 60 * kib, 0, all, false},
		{"parts, one wrong", VerifyFull, 60 * kib, 1, "CreateUpload 1, UploadPart 6, CompleteUpload 1", false},
		{"parts, auto", VerifyAuto, 60 * kib, 3, all, false},
		{"parts, off", VerifyOff, 60 * kib, 3, all, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := &corrupting{}
			e := newEnv(t, verifying(c.v), func(o *Options) { bad.Store, o.Store = o.Store, bad })
			bad.bodies.Store(c.bodies)
			var obj s3client.Object
			var err error
			e.wantCalls(c.want, func() { obj, err = e.u.Store(context.Background(), job(b[:c.size])) })
			if c.err {
				if !errors.Is(err, s3client.Unknown) || !strings.Contains(err.Error(), "MD5 of the") {
					t.Errorf("%+v, %v", obj, err)
				}
			} else if err != nil {
				t.Error(err)
			} else if c.v == VerifyFull || c.bodies == 0 || c.v == VerifyAuto && c.size == 9 {
				e.holds("k", b[:c.size])
			}
			e.noPending()
		})
	}
}

func TestVerifyPartsThatStayWrong(t *testing.T) {
	bad := &corrupting{}
	e := newEnv(t, verifying(VerifyFull), func(o *Options) { bad.Store, o.Store = o.Store, bad })
	bad.bodies.Store(1 << 30)
	b := random(60*kib, 1)
	e.mem.PutBytes("b", "k", []byte("before"), headers("0"))
	if _, err := e.u.Store(context.Background(), job(b)); !errors.Is(err, s3client.Unknown) || !strings.Contains(err.Error(), "ETagMismatch") {
		t.Errorf("error %v", err)
	}
	e.holds("k", []byte("before")) // nothing was joined
	e.noPending()
}

// A bucket whose ETags are no MD5s (SSE-KMS) costs one read under auto, and no upload ever.
func TestVerifyAutoLearnsOtherETags(t *testing.T) {
	odd := &altered{put: func(o *s3client.Object) { o.ETag = strings.Repeat("ab", 16) }}
	e := newEnv(t, func(o *Options) { odd.Store, o.Store = unpinned{o.Store}, odd })
	for i := range 3 {
		before := e.mem.Calls()["Get"]
		if _, err := e.u.Store(context.Background(), job(random(100, uint64(i)))); err != nil {
			t.Fatal(err)
		}
		if n := e.mem.Calls()["Get"] - before; n != 0 != (i == 0) {
			t.Errorf("store %d: %d reads", i, n)
		}
	}
	e.noWarnings()

	odd = &altered{put: odd.put}
	e = newEnv(t, func(o *Options) { odd.Store, o.Store = unpinned{o.Store}, odd })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			j := job(random(100, uint64(i)))
			j.Key = string(rune('a' + i))
			if _, err := e.u.Store(context.Background(), j); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := e.mem.Calls()["Get"]; n != 1 {
		t.Errorf("%d reads for eight files at once", n)
	}
	full := newEnv(t, verifying(VerifyFull), func(o *Options) { o.Store = &altered{Store: o.Store, put: odd.put} })
	if _, err := full.u.Store(context.Background(), job([]byte("x"))); !errors.Is(err, s3client.Unknown) {
		t.Errorf("full: %v", err)
	}
}

// unpinned is a store that reads what is there, for ETags made up above it.
type unpinned struct{ s3client.Store }

func (u unpinned) Get(ctx context.Context, r s3client.GetRequest) (io.ReadCloser, s3client.Object, error) {
	r.ETag = ""
	return u.Store.Get(ctx, r)
}

// An answer that cannot be verified because the object cannot be read is no success.
func TestVerifyAutoNeedsToRead(t *testing.T) {
	odd := &altered{put: func(o *s3client.Object) { o.ETag = strings.Repeat("ab", 16) }}
	e := newEnv(t, func(o *Options) { odd.Store, o.Store = o.Store, odd })
	e.fault.Add(s3fault.Rule{Call: "Get", Before: s3client.NotFound})
	_, err := e.u.Store(context.Background(), job([]byte("x")))
	if !errors.Is(err, s3client.Unknown) || errors.Is(err, s3client.NotFound) {
		t.Errorf("error %v", err)
	}
}

// Other forms of ETags prove nothing, and nothing is demanded of them.
func TestVerifyOtherForms(t *testing.T) {
	b := random(60*kib, 1)
	for _, etag := range []string{"W/odd", "5-6", "abcdef"} {
		e := newEnv(t, verifying(VerifyFull), func(o *Options) {
			o.Store = &altered{Store: o.Store, put: func(ob *s3client.Object) { ob.ETag = etag },
				completed: func(ob *s3client.Object) { ob.ETag = etag }}
		})
		for _, n := range []int{9, 60 * kib} {
			if _, err := e.u.Store(context.Background(), job(b[:n])); err != nil {
				t.Errorf("%s, %d bytes: %v", etag, n, err)
			}
		}
	}
}

// A bucket with ETags of another form is not hashed for, once that is known.
func TestVerifyAutoSavesTheHash(t *testing.T) {
	e := newEnv(t, func(o *Options) {
		o.Store = &altered{Store: o.Store, put: func(ob *s3client.Object) { ob.ETag = "crc-5" }}
	})
	to := target{"b", "k"}
	if e.u.putBody(to, nil, 100).sum == nil || e.u.putBody(to, nil, autoBytes+1).sum != nil {
		t.Error("hashed: a small file and no large one")
	}
	if _, err := e.u.Store(context.Background(), job([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if e.u.putBody(to, nil, 100).sum != nil || e.u.putBody(target{"other", "k"}, nil, 100).sum == nil {
		t.Error("hashed for a bucket without MD5s, or not for another")
	}
}

// An object that is not joined from its parts is stored again, then an error.
func TestVerifyJoined(t *testing.T) {
	b := random(60*kib, 1)
	for _, times := range []int{1, 2} {
		left := times
		e := newEnv(t, verifying(VerifyFull), func(o *Options) {
			o.Store = &altered{Store: o.Store, completed: func(ob *s3client.Object) {
				if left--; left >= 0 {
					ob.ETag = strings.Repeat("ab", 16) + "-5"
				}
			}}
		})
		obj, err := e.u.Store(context.Background(), job(b))
		if times == 1 && err != nil || times == 2 && !errors.Is(err, s3client.Unknown) {
			t.Errorf("%d times: %+v, %v", times, obj, err)
		}
		e.noPending()
	}
}

// The sum is that of the bytes that were sent, whatever the order and number of attempts; the source is read once.
func TestRunningSum(t *testing.T) {
	b := random(100*kib, 1)
	want, err := sumOf(bytes.NewReader(b), 10, 90*kib)
	if err != nil {
		t.Fatal(err)
	}
	for name, reads := range map[string][][2]int64{
		"in order":        {{0, 50 * kib}, {50 * kib, 40 * kib}},
		"at once":         {{0, 90 * kib}},
		"a second time":   {{0, 70 * kib}, {0, 90 * kib}},
		"broken off":      {{0, 50 * kib}},
		"not in order":    {{50 * kib, 40 * kib}, {0, 50 * kib}},
		"twice the same":  {{0, 50 * kib}, {30 * kib, 60 * kib}},
		"order then back": {{0, 90 * kib}, {10, 20}},
	} {
		c := &counting{r: bytes.NewReader(b)}
		body := &body{src: c, off: 10, size: 90 * kib, sum: newRunning()}
		for _, r := range reads {
			if _, err := body.ReadAt(make([]byte, r[1]), r[0]); err != nil {
				t.Fatal(err)
			}
		}
		read := c.n
		got, err := body.md5()
		if got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
		if again := c.n > read; again != (name != "in order" && name != "at once" && name != "a second time") {
			t.Errorf("%s: read again: %v", name, again)
		}
	}
}

type counting struct {
	r io.ReaderAt
	n int
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n += n
	return n, err
}

// Put compares as Store does, and says what is there when that is not what was sent.
func TestPutVerifies(t *testing.T) {
	for _, c := range []struct {
		name   string
		v      Verify
		size   int
		bodies int64
		want   string
		err    bool
	}{
		{"right", VerifyAuto, 9, 0, "Put 1", false},
		{"once", VerifyAuto, 9, 1, "Put 2", false},
		{"twice", VerifyAuto, 9, 2, "Put 2", true},
		{"full, twice", VerifyFull, 9, 2, "Put 2", true},
		{"off", VerifyOff, 9, 2, "Put 1", false},
		{"empty", VerifyFull, 0, 2, "Put 1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := &corrupting{}
			e := newEnv(t, verifying(c.v), func(o *Options) { bad.Store, o.Store = o.Store, bad })
			bad.bodies.Store(c.bodies)
			p := random(c.size, 1)
			var obj s3client.Object
			var err error
			e.wantCalls(c.want, func() {
				obj, err = e.u.Put(context.Background(), s3client.PutRequest{Bucket: "b", Key: "k", Body: bytes.NewReader(p), Size: int64(c.size)})
			})
			if there, ok := e.mem.Object("b", "k"); !ok || obj.ETag != there.ETag {
				t.Errorf("there is %+v, it says %+v", there, obj)
			}
			if c.err {
				if !errors.Is(err, s3client.Unknown) || !strings.Contains(err.Error(), "MD5 of the") {
					t.Errorf("error %v", err)
				}
			} else if err != nil {
				t.Error(err)
			} else if c.v != VerifyOff {
				e.holds("k", p)
			}
		})
	}
	e := newEnv(t)
	e.fault.Add(s3fault.Rule{Call: "Put", Before: s3client.Denied})
	obj, err := e.u.Put(context.Background(), s3client.PutRequest{Bucket: "b", Key: "k", Body: strings.NewReader("x"), Size: 1})
	if !errors.Is(err, s3client.Denied) || obj.ETag != "" {
		t.Errorf("%+v, %v: nothing was stored", obj, err)
	}
}

// Whoever has something stored learns what the store has in its place.
func TestVerifySaysWhatIsThere(t *testing.T) {
	var told []string
	tell := func(j *Job) { told, j.Spoiled = nil, func(etag string) { told = append(told, etag) } }
	bad := &corrupting{}
	e := newEnv(t, func(o *Options) { bad.Store, o.Store = o.Store, bad })
	for bodies := range int64(3) {
		bad.bodies.Store(bodies)
		j := job(random(9, 1))
		tell(&j)
		_, err := e.u.Store(context.Background(), j)
		there, _ := e.mem.Object("b", "k")
		if int64(len(told)) != bodies || (err != nil) != (bodies == 2) || err != nil && told[1] != there.ETag {
			t.Errorf("%d wrong bodies: %q, %v; there is %s", bodies, told, err, there.ETag)
		}
	}
	odd := strings.Repeat("ab", 16) + "-5"
	e = newEnv(t, verifying(VerifyFull), func(o *Options) {
		o.Store = &altered{Store: o.Store, completed: func(ob *s3client.Object) { ob.ETag = odd }}
	})
	j := job(random(60*kib, 1))
	tell(&j)
	if _, err := e.u.Store(context.Background(), j); err == nil || strings.Join(told, " ") != odd+" "+odd {
		t.Errorf("joined of others: %q, %v", told, err)
	}
}
