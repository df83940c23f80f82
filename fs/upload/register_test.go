package upload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// book is a Register in memory.
type book struct {
	sync.Mutex
	t    *testing.T
	last uint64
	open map[uint64]Left
	log  []string // of calls, without tokens
	fail error
}

func newBook(t *testing.T) *book { return &book{t: t, open: make(map[uint64]Left)} }

func (b *book) setting(o *Options) { o.Register = b }

func (b *book) Begins(bucket, key string) (uint64, error) {
	b.Lock()
	defer b.Unlock()
	b.log = append(b.log, "begins")
	if b.fail != nil {
		return 0, b.fail
	}
	b.last++
	b.open[b.last] = Left{Token: b.last, Bucket: bucket, Key: key, Begun: time.Now()}
	return b.last, nil
}

func (b *book) change(what string, token uint64, f func(*Left)) error {
	b.Lock()
	defer b.Unlock()
	b.log = append(b.log, what)
	l, ok := b.open[token]
	if !ok {
		b.t.Errorf("%s of token %d, which is not open", what, token)
	}
	f(&l)
	b.open[token] = l
	return b.fail
}

func (b *book) Has(token uint64, id string) error {
	return b.change("has", token, func(l *Left) { l.ID = id })
}

func (b *book) Completes(token uint64) error {
	return b.change("completes", token, func(l *Left) { l.Completing = true })
}

func (b *book) Ends(token uint64) error {
	err := b.change("ends", token, func(*Left) {})
	b.Lock()
	defer b.Unlock()
	delete(b.open, token)
	return err
}

// left is what a process that dies now leaves.
func (b *book) left() []Left {
	b.Lock()
	defer b.Unlock()
	return slices.SortedFunc(maps.Values(b.open), func(x, y Left) int { return int(x.Token) - int(y.Token) })
}

func (b *book) calls() string {
	b.Lock()
	defer b.Unlock()
	s := strings.Join(b.log, " ")
	b.log = nil
	return s
}

func TestRegister(t *testing.T) {
	b := random(60*kib, 1)
	for _, c := range []struct {
		name string
		rule s3fault.Rule
		want string
		left int
	}{
		{"stored", s3fault.Rule{Call: "none"}, "begins has completes ends", 0},
		{"refused creation", s3fault.Rule{Call: "CreateUpload", Before: s3client.Denied}, "begins ends", 0},
		{"unclear creation", s3fault.Rule{Call: "CreateUpload", Before: s3client.Temporary}, "begins", 1},
		{"part refused", s3fault.Rule{Call: "UploadPart", Before: s3client.Denied}, "begins has ends", 0},
		{"completion refused", s3fault.Rule{Call: "CompleteUpload", Before: s3client.Denied}, "begins has completes ends", 0},
		{"completion undecided", s3fault.Rule{Call: "CompleteUpload", Before: s3client.Temporary}, "begins has completes", 1},
		{"vanished", s3fault.Rule{Call: "UploadPart", Part: 1, Nth: 1, Before: s3client.NotFound},
			"begins has ends begins has completes ends", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			reg := newBook(t)
			// One at a time: a part on its way when another fails keeps the account open (latepart.go).
			e := newEnv(t, reg.setting, func(o *Options) { o.Parallel = 1 })
			e.fault.Add(c.rule)
			_, err := e.u.Store(context.Background(), job(b))
			if got := reg.calls(); got != c.want || len(reg.left()) != c.left {
				t.Errorf("%v: register: %s, want %s; left %v", err, got, c.want, reg.left())
			}
			e.fault.Clear()
			e.store(job(b), b)
			if left := reg.left(); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			e.noPending()
		})
	}
}

func TestRegisterOfStreams(t *testing.T) {
	reg := newBook(t)
	e := newEnv(t, reg.setting)
	f, s := e.streaming(60 * kib)
	e.storeFile(f, s, 60*kib)
	if got := reg.calls(); got != "begins has completes ends" {
		t.Errorf("stored: %s", got)
	}
	_, s = e.streaming(60 * kib)
	if err := s.Abort(wait(t)); err != nil {
		t.Fatal(err)
	}
	if got := reg.calls(); got != "begins has ends" || len(reg.left()) != 0 {
		t.Errorf("aborted: %s", got)
	}
	f, s = e.streaming(60 * kib)
	up := e.mem.PendingUploads("b")[0]
	if err := e.mem.AbortUpload(context.Background(), "b", up.Key, up.ID); err != nil {
		t.Fatal(err)
	}
	e.storeFile(f, s, 60*kib)
	e.close() // waits for the abort of what is gone
	if left := reg.left(); len(left) != 0 {
		t.Errorf("vanished: left %v", left)
	}
	e.noPending()
}

// A register that fails costs no file.
func TestRegisterFails(t *testing.T) {
	reg := newBook(t)
	reg.fail = errors.New("disk full")
	e := newEnv(t, reg.setting)
	b := random(60*kib, 1)
	e.store(job(b), b)
	if got := reg.calls(); got != "begins" || !strings.Contains(e.log.String(), "not registered") {
		t.Errorf("register: %s, log %s", got, e.log)
	}
}

// A creation that was repeated inside the client may have made two uploads: the one that nobody has heard of is found.
func TestUnheardUploadIsFound(t *testing.T) {
	for _, crash := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			reg := newBook(t)
			e := newEnv(t, reg.setting)
			e.fault.Add(s3fault.Rule{Call: "CreateUpload", Nth: 1, Hook: func(ctx context.Context, c s3fault.Call) error {
				if _, err := e.mem.CreateUpload(context.Background(), c.Bucket, c.Key, headers("1")); err != nil {
					t.Error(err)
				}
				s3client.Doubtful(ctx)
				return nil
			}})
			b := random(60*kib, 1)
			if crash {
				e.fault.Add(s3fault.Rule{Call: "CompleteUpload", Before: s3client.Denied})
				_, err := e.u.Store(context.Background(), job(b))
				if left := reg.left(); err == nil || len(left) != 1 || left[0].ID != "" {
					t.Fatalf("%v, left %v", err, left)
				}
				u := New(e.u.o)
				if n, err := u.AbortLeft(context.Background(), reg.left(), nil); n != 1 || err != nil {
					t.Errorf("aborted %d, %v", n, err)
				}
			} else {
				e.store(job(b), b)
			}
			if left := reg.left(); len(left) != 0 {
				t.Errorf("left %v", left)
			}
			if left := e.mem.PendingUploads("b"); len(left) != 0 {
				t.Errorf("uploads left: %v", left)
			}
			e.close()
		})
	}
}

// newRun is an Uploader on the same store after a crash of the first one.
func (e *env) newRun(left []Left) *Uploader {
	u := New(e.u.o)
	u.Adopt(left)
	e.t.Cleanup(func() {
		if err := u.Close(context.Background()); err != nil {
			e.t.Errorf("close: %v", err)
		}
	})
	return u
}

// allEnded closes a run and demands that the next one has nothing to abort: it ends the accounts of uploads that the closed
// one could not look at again any more. The test runs in a bubble.
func (e *env) allEnded(u *Uploader, reg *book) {
	e.t.Helper()
	if err := u.Close(context.Background()); err != nil {
		e.t.Error(err)
	}
	left := reg.left()
	n, err := e.newRun(left).AbortLeft(context.Background(), left, nil)
	time.Sleep(lateWindow)
	synctest.Wait()
	if n != 0 || err != nil || len(reg.left()) != 0 {
		e.t.Errorf("the next run aborted %d of %v, %v; registered %v", n, left, err, reg.left())
	}
}

// create makes an upload as an earlier run did.
func (e *env) create(reg *book, key string, completing bool, parts ...[]byte) Left {
	e.t.Helper()
	ctx := context.Background()
	token, _ := reg.Begins("b", key)
	id, err := e.mem.CreateUpload(ctx, "b", key, headers("1"))
	if err != nil {
		e.t.Fatal(err)
	}
	if err := reg.Has(token, id); err != nil {
		e.t.Fatal(err)
	}
	if completing {
		if err := reg.Completes(token); err != nil {
			e.t.Fatal(err)
		}
	}
	for i, p := range parts {
		if _, err := e.mem.UploadPart(ctx, s3client.PartRequest{Bucket: "b", Key: key, UploadID: id, Number: i + 1,
			Body: strings.NewReader(string(p)), Size: int64(len(p))}); err != nil {
			e.t.Fatal(err)
		}
	}
	return reg.open[token]
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newBook(t)
		e := newEnv(t, reg.setting)
		e.fault.Add(s3fault.Rule{Call: "UploadPart", Part: 5, Before: s3client.Temporary})
		b := random(60*kib, 1)
		if _, err := e.u.Store(context.Background(), job(b)); err == nil || len(reg.left()) != 1 {
			t.Fatalf("%v, registered %v", err, reg.left())
		}
		e.u.Forget("b", "k")
		e.noPending()
		e.allEnded(e.u, reg)
	})
}

// An earlier run's upload of which nobody has heard, and whose file was kept when AbortLeft looked.
func TestForgetOfAnEarlierUploadWithoutID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newBook(t)
		e := newEnv(t, reg.setting)
		if _, err := reg.Begins("b", "k"); err != nil {
			t.Fatal(err)
		}
		if _, err := e.mem.CreateUpload(t.Context(), "b", "k", headers("1")); err != nil {
			t.Fatal(err)
		}
		u := e.newRun(nil)
		left := reg.left()
		u.Adopt(left)
		time.Sleep(createWindow + time.Second)
		if n, err := u.AbortLeft(t.Context(), left, func(Left) bool { return true }); n != 0 || err != nil {
			t.Errorf("aborted %d, %v", n, err)
		}
		u.Forget("b", "k")
		synctest.Wait()
		e.noPending()
		e.allEnded(u, reg)
	})
}

func TestParseVerify(t *testing.T) {
	for name, want := range map[string]Verify{"auto": VerifyAuto, "": VerifyAuto, "full": VerifyFull, "off": VerifyOff} {
		if v, err := ParseVerify(name); v != want || err != nil || name != "" && v.String() != name {
			t.Errorf("%q: %v, %v", name, v, err)
		}
	}
	if _, err := ParseVerify("some"); err == nil || fmt.Sprint(Verify(9)) != "verify 9" {
		t.Error("unknown verify")
	}
}

// A store that fails one call in five before, and one in five after it has been carried out, with runs that die in
// between: in the end every file is there, and no upload is left.
func TestNothingIsLeftBehindFailures(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			reg := newBook(t)
			profile := tiny
			if seed%2 == 0 {
				profile.Name = "minio"
			}
			mem := s3mem.New(s3mem.WithProfile(profile), s3mem.WithBuckets("b"))
			fault := s3fault.New(mem)
			e := newEnv(t, reg.setting, func(o *Options) { o.Store = fault })
			e.mem, e.fault = mem, fault
			e.fault.Add(s3fault.Rule{Probability: 0.2, Seed: seed, Before: s3client.Temporary})
			e.fault.Add(s3fault.Rule{Probability: 0.2, Seed: seed + 100, After: s3client.Temporary})
			files := map[string][]byte{"a": random(60*kib, seed), "b": random(35*kib, seed+1), "c": random(90*kib, seed+2)}
			u := e.u
			for key, b := range files {
				j := job(b)
				j.Key = key
				for try := 0; ; try++ {
					_, err := u.Store(context.Background(), j)
					if err == nil {
						break
					}
					if !errors.Is(err, s3client.Temporary) && !errors.Is(err, s3client.Unknown) || try > 200 {
						t.Fatalf("seed %d, %s: %v", seed, key, err)
					}
					if try%3 == 2 { // the process dies
						u.close()
						u.wg.Wait()
						u = New(e.u.o)
						u.Adopt(reg.left())
					}
				}
				e.holds(key, b)
			}
			e.fault.Clear()
			u.close()
			u.wg.Wait()
			abortLeft := func() {
				if _, err := New(e.u.o).AbortLeft(context.Background(), reg.left(), nil); err != nil {
					t.Error(err)
				}
				time.Sleep(lateWindow)
				synctest.Wait()
			}
			abortLeft()
			for _, l := range reg.left() { // may be the object, by its parts: goes when that is replaced
				if profile.Name == "minio" || !l.Completing {
					t.Errorf("seed %d: registered %v", seed, l)
				}
				e.mem.PutBytes("b", l.Key, nil, headers("0"))
			}
			abortLeft()
			if left := reg.left(); len(left) != 0 {
				t.Errorf("seed %d: registered %v", seed, left)
			}
			if left := e.mem.PendingUploads("b"); len(left) != 0 {
				t.Errorf("seed %d: uploads left %v", seed, left)
			}
		})
	}
}
