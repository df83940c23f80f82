package upload

import (
	"context"
	"errors"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

func TestCopy(t *testing.T) {
	small, large := random(30*kib, 1), random(90*kib, 2)
	h := headers("7")
	for _, c := range []struct {
		name  string
		b     []byte
		known bool // the source's headers are known
		h     *s3client.Headers
		want  string
		mode  string
	}{
		{"small", small, false, nil, "Copy 1, Head 1", "3"},
		{"small, headers", small, false, &h, "Copy 1, Head 1", "7"},
		{"empty", nil, false, nil, "Copy 1, Head 1", "3"},
		{"large", large, false, nil, "CreateUpload 1, CopyPart 3, CompleteUpload 1, Head 2", "3"},
		{"large, known headers", large, true, nil, "CreateUpload 1, CopyPart 3, CompleteUpload 1, Head 1", "3"},
		{"large, headers", large, false, &h, "CreateUpload 1, CopyPart 3, CompleteUpload 1, Head 1", "7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t)
			src := e.mem.PutBytes("b", "src", c.b, headers("3"))
			if c.known {
				src, _ = e.mem.Object("b", "src")
			}
			e.wantCalls(c.want, func() {
				obj, err := e.u.Copy(context.Background(), src, "b", "dst", c.h)
				seen, _ := e.mem.Object("b", "dst")
				if err != nil || obj.Key != "dst" || obj.ETag != seen.ETag || obj.Size != int64(len(c.b)) ||
					obj.Modified.IsZero() || obj.Headers == nil || obj.Headers.Meta["mode"] != c.mode {
					t.Errorf("%+v, %v", obj, err)
				}
			})
			e.holds("dst", c.b)
			if seen, _ := e.mem.Object("b", "dst"); seen.Headers.Meta["mode"] != c.mode || seen.Headers.ContentType != "text/plain" {
				t.Errorf("headers %+v", seen.Headers)
			}
			e.noPending()
		})
	}
}

func TestCopyOntoItself(t *testing.T) {
	e := newEnv(t)
	b := random(90*kib, 1)
	src := e.mem.PutBytes("b", "k", b, headers("3"))
	h := headers("4")
	if _, err := e.u.Copy(context.Background(), src, "b", "k", &h); err != nil {
		t.Fatal(err)
	}
	e.holds("k", b)
	if seen, _ := e.mem.Object("b", "k"); seen.Headers.Meta["mode"] != "4" {
		t.Errorf("headers %+v", seen.Headers)
	}
}

func TestCopyOfUnknownVersion(t *testing.T) {
	e := newEnv(t)
	b := random(90*kib, 1)
	e.mem.PutBytes("b", "src", b, headers("3"))
	if _, err := e.u.Copy(context.Background(), s3client.Object{Bucket: "b", Key: "src"}, "b", "dst", nil); err != nil {
		t.Fatal(err)
	}
	e.holds("dst", b)
}

func TestCopyFailures(t *testing.T) {
	for _, size := range []int{30 * kib, 90 * kib} {
		for name, c := range map[string]struct {
			rule  s3fault.Rule
			alter altered
			want  error
		}{
			"temporary":   {rule: s3fault.Rule{Prefix: "dst", Before: s3client.Temporary}, want: s3client.Temporary},
			"no look":     {rule: s3fault.Rule{Call: "Head", Before: s3client.Temporary}, want: s3client.Temporary},
			"not there":   {rule: s3fault.Rule{Call: "Head", Key: "dst", Before: s3client.NotFound}, want: s3client.Unknown},
			"no etag":     {alter: altered{copied: func(o *s3client.Object) { o.ETag = "" }, copyPart: func(p *s3client.Part) { p.ETag = "" }}, want: s3client.Unknown},
			"cut short":   {alter: altered{head: func(o *s3client.Object) { o.Size -= 10 }}, want: s3client.Unknown},
			"lost answer": {rule: s3fault.Rule{Prefix: "dst", After: s3client.Temporary}, want: s3client.Temporary},
		} {
			t.Run(name, func(t *testing.T) {
				e := newEnv(t, func(o *Options) {
					c.alter.Store = o.Store
					o.Store = &c.alter
				})
				b := random(size, 1)
				e.mem.PutBytes("b", "src", b, headers("3"))
				src, _ := e.mem.Object("b", "src")
				e.fault.Add(c.rule)
				if obj, err := e.u.Copy(context.Background(), src, "b", "dst", nil); !errors.Is(err, c.want) || errors.Is(err, s3client.NotFound) {
					t.Errorf("%+v, %v; want %v", obj, err, c.want)
				}
				e.holds("src", b)
			})
		}
	}
}

func TestCopyOfWhatChanged(t *testing.T) {
	for _, size := range []int{30 * kib, 90 * kib} {
		e := newEnv(t)
		src := e.mem.PutBytes("b", "src", random(size, 1), headers("3"))
		e.mem.PutBytes("b", "src", random(size, 2), headers("3"))
		if _, err := e.u.Copy(context.Background(), src, "b", "dst", nil); !errors.Is(err, s3client.Changed) {
			t.Errorf("replaced: %v", err)
		}
		e.mem.Remove("b", "src")
		if _, err := e.u.Copy(context.Background(), src, "b", "dst", nil); !errors.Is(err, s3client.NotFound) && !errors.Is(err, s3client.Changed) {
			t.Errorf("removed: %v", err)
		}
		if got := e.mem.Keys("b"); len(got) != 0 {
			t.Errorf("keys %v", got)
		}
		e.noPending()
	}
}

func TestCopyBeyondTheParts(t *testing.T) {
	e := newEnv(t)
	src := e.mem.PutComputed("b", "src", 41*40*kib, "v")
	if _, err := e.u.Copy(context.Background(), src, "b", "dst", nil); !errors.Is(err, s3client.TooLarge) {
		t.Errorf("error %v", err)
	}
}

func TestCopyOfHugeObjects(t *testing.T) {
	mem := s3mem.New(s3mem.WithBuckets("b"), s3mem.LikeSwift())
	u := New(Options{Store: mem})
	src := mem.PutComputed("b", "src", 100*gib+5, "v")
	obj, err := u.Copy(context.Background(), src, "b", "dst", nil)
	if err != nil || obj.Size != src.Size {
		t.Errorf("%+v, %v", obj, err)
	}
	if n := mem.Calls()["CopyPart"]; n != 101 {
		t.Errorf("%d parts", n)
	}
	if err := u.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// An object that somebody else has stored between the copy and the look at it is said to be that, not a store that copies
// less than it was told to.
func TestCopyOverwrittenBeforeTheLook(t *testing.T) {
	for name, size := range map[string]int{"whole": 30 * kib, "in parts": 90 * kib} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.mem.PutBytes("b", "src", random(size, 1), headers("3"))
			src, _ := e.mem.Object("b", "src")
			e.fault.Add(s3fault.Rule{Call: "Head", Key: "dst", Times: 1, Hook: func(context.Context, s3fault.Call) error {
				e.mem.PutBytes("b", "dst", random(7, 2), headers("1"))
				return nil
			}})
			if _, err := e.u.Copy(context.Background(), src, "b", "dst", nil); s3client.KindOf(err) != s3client.Changed {
				t.Errorf("copied: %v", err)
			}
			e.holds("src", random(size, 1))
		})
	}
}
