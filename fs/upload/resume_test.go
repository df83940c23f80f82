package upload

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// crashed sends the first parts of what a Store would, and leaves the upload as a process that dies does.
func (e *env) crashed(reg *book, j Job, arrived int) []Left {
	e.t.Helper()
	plan, err := e.u.plan(j)
	if err != nil {
		e.t.Fatal(err)
	}
	up := &upload{u: e.u, to: target{j.Bucket, j.Key}, job: j, pieces: plan.Pieces, parts: make([]s3client.Part, len(plan.Pieces))}
	if err := up.begin(context.Background()); err != nil {
		e.t.Fatal(err)
	}
	for i := range arrived {
		if err := up.sendOne(context.Background(), i); err != nil {
			e.t.Fatal(err)
		}
	}
	return reg.left()
}

// storeBy is env.store with another Uploader.
func (e *env) storeBy(u *Uploader, j Job, want []byte) {
	e.t.Helper()
	was := e.u
	e.u = u
	defer func() { e.u = was }()
	e.store(j, want)
}

// resumes crashes with some parts sent, stores with the next run, and demands the requests and that nothing is left.
func (e *env) resumes(reg *book, before Job, arrived int, j Job, content []byte, want string) {
	e.t.Helper()
	u := e.newRun(e.crashed(reg, before, arrived))
	e.wantCalls(want, func() { e.storeBy(u, j, content) })
	e.allEnded(u, reg)
	e.noPending()
	e.noWarnings()
}

// Of a file of 64 MiB five of eight parts had arrived: the next run sends three.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		profile := swiftProfile
		profile.MaxMetaValue, profile.MaxMeta, profile.MaxDelete = 256, 4096, 100
		reg := newBook(t)
		mem := s3mem.New(s3mem.WithProfile(profile), s3mem.WithBuckets("b"))
		e := newEnv(t, reg.setting, func(o *Options) {
			o.Store, o.Limits = mem, Limits{}
		})
		e.mem = mem
		b := make([]byte, 64*mib)
		s3mem.ComputedAt("k", "v", 0, b)
		e.resumes(reg, job(b), 5, job(b), b, "UploadPart 3, CompleteUpload 1, Head 1")
		if out := mem.Counts().BytesOut; out != 64*mib {
			t.Errorf("%d bytes sent by both runs", out)
		}
	})
}

func TestResumeParts(t *testing.T) {
	b := random(60*kib, 1) // parts of 8, 8, 16, 16 and 12
	changed := bytes.Clone(b)
	changed[9*kib]++
	longer := append(bytes.Clone(b), random(40*kib, 2)...)
	other := job(b)
	other.Headers = headers("2")
	for _, c := range []struct {
		name    string
		before  []byte
		arrived int
		j       Job
		content []byte
		want    string
	}{
		{"none had arrived", b, 0, job(b), b, "CreateUpload 1, UploadPart 5, CompleteUpload 1, AbortUpload 1"},
		{"three", b, 3, job(b), b, "UploadPart 2, CompleteUpload 1, Head 1"},
		{"all", b, 5, job(b), b, "CompleteUpload 1, Head 1"},
		{"changed since", b, 5, job(changed), changed, "UploadPart 1, CompleteUpload 1, Head 1"},
		{"longer now", b, 5, job(longer), longer, "UploadPart 2, CompleteUpload 1, Head 1"},
		{"shorter now", longer, 6, job(b), b, "CreateUpload 1, UploadPart 5, CompleteUpload 1, AbortUpload 1"},
		{"one PUT now", longer, 6, job(b[:9]), b[:9], "Put 1, AbortUpload 1"},
		{"other headers", b, 4, other, b, "CreateUpload 1, UploadPart 1, CopyPart 2, CompleteUpload 2, Head 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := newBook(t)
				e := newEnv(t, reg.setting)
				e.resumes(reg, job(c.before), c.arrived, c.j, c.content, c.want)
			})
		})
	}
}

// Copied pieces are copied again: their bytes are not here to be compared.
func TestResumeAnEdit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newBook(t)
		e := newEnv(t, reg.setting)
		old := random(90*kib, 1)
		base := e.mem.PutBytes("b", "k", old, headers("0"))
		edited := bytes.Clone(old)
		edited[30*kib]++
		j := e.edit(base, edited, 90*kib, Range{Off: 30 * kib, Len: 1})
		e.resumes(reg, j, 2, j, edited, "CopyPart 3, CompleteUpload 1, Head 1")
	})
}

func TestResumeByID(t *testing.T) {
	reg := newBook(t)
	e := newEnv(t, reg.setting)
	b := random(60*kib, 1)
	left := e.crashed(reg, job(b), 3)
	older := e.create(reg, "k", false, []byte("of another size"))
	u := New(e.u.o)
	j := job(b)
	j.Resume = []string{older.ID, left[0].ID, "gone"}
	e.wantCalls("UploadPart 2, CompleteUpload 1, AbortUpload 1, Head 2", func() { e.storeBy(u, j, b) })
	e.noPending()
}

func TestResumeWhereTheStoreShowsNoParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []s3client.Kind{s3client.Denied, s3client.Unsupported, s3client.Temporary, s3client.NotFound} {
			reg := newBook(t)
			e := newEnv(t, reg.setting)
			b := random(60*kib, 1)
			left := e.crashed(reg, job(b), 3)
			e.fault.Add(s3fault.Rule{Call: "Parts", Before: kind})
			u := e.newRun(left)
			e.storeBy(u, job(b), b)
			e.fault.Clear()
			time.Sleep(lateWindow)
			synctest.Wait()
			e.allEnded(u, reg)
		}
	})
}

// What has arrived before a passing failure is not sent again by the next Store of the same run.
func TestFailedStoreIsTakenUp(t *testing.T) {
	reg := newBook(t)
	e := newEnv(t, reg.setting, func(o *Options) { o.Parallel = 1 })
	b := random(60*kib, 1)
	e.fault.Add(s3fault.Rule{Call: "UploadPart", Part: 5, Before: s3client.Throttled})
	if _, err := e.u.Store(context.Background(), job(b)); !errors.Is(err, s3client.Throttled) {
		t.Fatal(err)
	}
	e.fault.Clear()
	e.wantCalls("UploadPart 1, CompleteUpload 1", func() { e.store(job(b), b) })
	if left := reg.left(); len(left) != 0 {
		t.Errorf("registered: %v", left)
	}
	e.noPending()
	e.noWarnings()
}

// A completion that was not answered costs no second upload, whether it was carried out or not.
func TestUndecidedStoreSendsNothingAgain(t *testing.T) {
	b := random(60*kib, 1)
	for _, c := range []struct {
		name string
		rule s3fault.Rule
		want string
	}{
		{"not done", s3fault.Rule{Before: s3client.Temporary}, "CompleteUpload 1"},
		{"done", s3fault.Rule{After: s3client.Temporary}, "Head 1"},
		{"done, then slowed down", s3fault.Rule{Refused: s3client.Throttled}, "Head 1"},
		{"done, then denied", s3fault.Rule{Refused: s3client.Denied}, "Head 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			reg := newBook(t)
			e := newEnv(t, reg.setting)
			c.rule.Call = "CompleteUpload"
			e.fault.Add(c.rule)
			if _, err := e.u.Store(context.Background(), job(b)); !errors.Is(err, s3client.Temporary) {
				t.Fatal(err)
			}
			e.fault.Clear()
			e.wantCalls(c.want, func() { e.store(job(b), b) })
			if left := reg.left(); len(left) != 0 {
				t.Errorf("registered: %v", left)
			}
			e.noPending()
		})
	}
}

// strict is a store that does not know an upload any more once it is completed, as most do.
type strict struct{ s3client.Store }

func (s strict) CompleteUpload(ctx context.Context, r s3client.CompleteRequest) (s3client.Object, error) {
	if _, err := s.Parts(ctx, r.Bucket, r.Key, r.UploadID); err != nil {
		return s3client.Object{}, err
	}
	return s.Store.CompleteUpload(ctx, r)
}

func TestUndecidedStreamOnAStrictStore(t *testing.T) {
	e := newEnv(t, func(o *Options) { o.Store = strict{o.Store} })
	f, s := e.streaming(60 * kib)
	e.fault.Add(s3fault.Rule{Call: "CompleteUpload", Nth: 1, After: s3client.Temporary})
	j := job(f.b)
	j.Stream = s
	if _, err := e.u.Store(context.Background(), j); !errors.Is(err, s3client.Temporary) {
		t.Fatal(err)
	}
	e.wantCalls("Head 1", func() { e.storeFile(f, s, 60*kib) })
	e.noPending()
}

func TestCanceledResume(t *testing.T) {
	reg := newBook(t)
	e := newEnv(t, reg.setting)
	b := random(60*kib, 1)
	u := e.newRun(e.crashed(reg, job(b), 3))
	g := newGate()
	e.fault.Add(s3fault.Rule{Call: "Parts", Hook: g.hook})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-g.reached
		cancel()
	}()
	if _, err := u.Store(ctx, job(b)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	e.fault.Clear()
	e.wantCalls("UploadPart 2, CompleteUpload 1, Head 1", func() { e.storeBy(u, job(b), b) })
	if left := reg.left(); len(left) != 0 || strings.Contains(e.log.String(), "WARN") {
		t.Errorf("registered: %v, log %s", left, e.log)
	}
}
