package outbox

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// step is one thing that happens in a run of the model; what a and b mean depends on it.
type step struct {
	Do   string
	Key  string
	A, B int
}

var modelKeys = []string{"a", "d/", "d/\n", "d/x"}

func steps() *rapid.Generator[[]step] {
	does := []string{"put", "put", "delete", "delete", "headers", "headers", "hold", "release", "release", "sleep", "sleep", "drain",
		"busy", "crash", "faults"}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{rapid.SampledFrom(does).Draw(t, "do"), rapid.SampledFrom(modelKeys).Draw(t, "key"),
			rapid.IntRange(0, 9).Draw(t, "a"), rapid.IntRange(0, 999).Draw(t, "b")}
	}), 1, 60)
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// model is what the store should have in the end: each accepted change is carried out at once, in a map.
type model struct {
	*rig
	objects map[string]*object
	holds   map[string]*modelHold
	files   int
}

// modelHold is a file's commit that is going on; during are the changes accepted meanwhile.
type modelHold struct {
	done   func(bool)
	during []Op
}

func (m *model) accept(op Op) {
	m.objects[op.Key] = applied(m.objects[op.Key], op)
	if h := m.holds[op.Key]; h != nil {
		h.during = append(h.during, op)
	}
}

// applied is what there is after an Op; here every Op speaks of what is there.
func applied(o *object, op Op) *object {
	switch {
	case op.Kind == KindPut:
		return &object{string(op.Body), op.Headers.Meta["mode"], md5Of(string(op.Body))}
	case op.Kind == KindHeaders && o != nil:
		return &object{o.body, op.Headers.Meta["mode"], o.etag}
	}
	return nil
}

func (m *model) run(s step) {
	o := m.objects[s.Key]
	etag := ""
	if o != nil && s.B%2 == 0 {
		etag = o.etag
	}
	mode := fmt.Sprint(s.B)
	switch s.Do {
	case "put":
		body := fmt.Sprint("body ", s.A)
		m.put(s.Key, body, mode)
		m.accept(Op{Kind: KindPut, Key: s.Key, Body: []byte(body), Headers: withMode(mode)})
	case "delete":
		m.delete(s.Key, etag)
		m.accept(Op{Kind: KindDelete, Key: s.Key})
	case "headers":
		if o != nil {
			m.headers(s3client.Object{Bucket: "b", Key: s.Key, ETag: etag, Size: int64(len(o.body))}, mode)
			m.accept(Op{Kind: KindHeaders, Key: s.Key, Headers: withMode(mode)})
		}
	case "hold":
		if m.holds[s.Key] == nil {
			m.holds[s.Key] = &modelHold{done: m.hold(s.Key)}
		}
	case "release":
		m.release(s.Key, s.A < 5)
	case "sleep":
		time.Sleep([]time.Duration{time.Millisecond, 250 * time.Millisecond, 2 * time.Second, time.Minute}[s.A%4])
	case "drain":
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = m.box.Drain(ctx, "b", s.Key) // with faults and holds it may fail; what it leaves is compared in the end
	case "busy":
		m.setBusy(s.Key, s.A < 5)
		if s.A != 9 { // a Wake that is forgotten
			m.box.Wake()
		}
	case "crash":
		m.holds = map[string]*modelHold{}
		m.crash()
		m.start(fast)
	case "faults":
		m.faults(s)
	}
	checkTable(m.t, m.box)
}

// release ends a hold: the file was stored, or not.
func (m *model) release(key string, stored bool) {
	h := m.holds[key]
	if h == nil {
		return
	}
	delete(m.holds, key)
	if stored {
		m.files++
		body := fmt.Sprint("file ", m.files)
		m.rig.stored(key, body)
		m.objects[key] = &object{body, "first", md5Of(body)}
		for _, op := range h.during {
			m.objects[key] = applied(m.objects[key], op)
		}
	}
	h.done(stored)
}

func (m *model) faults(s step) {
	m.fault.Clear()
	kinds := []s3client.Kind{s3client.Temporary, s3client.Throttled, s3client.Unknown, s3client.Denied}
	r := s3fault.Rule{Probability: 0.4, Seed: uint64(s.B), Delay: time.Duration(s.B) * time.Millisecond}
	if s.A < 2 {
		return
	}
	kind := kinds[s.B%len(kinds)]
	before, after := r, r
	before.Before, after.After, after.Seed = kind, kind, r.Seed+1
	m.fault.Add(before)
	m.fault.Add(after)
	key := before
	key.Call, key.Key = "DeleteMany", s.Key
	m.fault.Add(key)
	if s.A == 9 {
		m.fault.Add(s3fault.Rule{Call: "DeleteMany", Before: s3client.Unsupported})
	}
}

// fast makes deletes of a second ago ask, and room scarce.
func fast(o *Options) { o.CheckAfter, o.Parallel = time.Second, 2 }

// finish lets everything be carried out.
func (m *model) finish() {
	m.fault.Clear()
	for key := range m.holds {
		m.release(key, false)
	}
	for _, key := range modelKeys {
		m.setBusy(key, false)
	}
	m.box.Wake()
	time.Sleep(time.Hour) // the longest pause, six times: nothing needs a Drain
	m.nothingLeft()
	for _, key := range modelKeys {
		want := ""
		if o := m.objects[key]; o != nil {
			want = o.body + ":" + o.mode
		}
		m.want(key, want)
	}
	last := make(map[string]uint64)
	for _, d := range m.settled() {
		if d.Op.Seq < last[d.Op.Key] { // the same one twice: a crash before its note was dropped
			m.t.Errorf("%s: entry %d was settled after %d", &d.Op, d.Op.Seq, last[d.Op.Key])
		}
		last[d.Op.Key] = d.Op.Seq
		if d.Err != nil {
			m.t.Errorf("%s was given up: %v", &d.Op, d.Err)
		}
	}
	m.close()
}

// Random changes, commits of files, failures and crashes end in what doing each change at once ends in.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := steps().Draw(rt, "steps")
		failed := true
		bubble(t, func(t *testing.T) {
			m := &model{rig: &rig{}, objects: map[string]*object{}, holds: map[string]*modelHold{}}
			m.rig = newRig(t, fast)
			for _, key := range modelKeys[:2] {
				o := m.rig.stored(key, "at first")
				m.objects[key] = &object{"at first", "first", o.ETag}
			}
			for _, s := range script {
				m.run(s)
			}
			m.finish()
			if failed = t.Failed(); failed {
				t.Logf("%+v", script)
			}
		})
		if failed {
			rt.Fatalf("see above")
		}
	})
}

// Many at once, each with keys of its own and some that all share: no race, no lock that never opens, and each one's keys
// end as its last change says.
func TestManyAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.MaxPending, o.Parallel = 20, 4 })
		r.fault.Add(s3fault.Rule{Probability: 0.1, Seed: 1, Before: s3client.Temporary})
		r.fault.Add(s3fault.Rule{Probability: 0.1, Seed: 2, Refused: s3client.Throttled})
		var all sync.WaitGroup
		var mu sync.Mutex
		want := make(map[string]string)
		for w := range 8 {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(w), 7))
				mine := make(map[string]string)
				for i := range 150 {
					key := fmt.Sprintf("%d/%d", w, rnd.IntN(6))
					switch rnd.IntN(8) {
					case 0, 1:
						r.put(key, fmt.Sprint(i), "m")
						mine[key] = fmt.Sprint(i) + ":m"
					case 2, 3:
						r.delete(key, "")
						mine[key] = ""
					case 4:
						done := r.hold(key)
						time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
						r.stored(key, "file")
						done(true)
						mine[key] = "file:first"
					case 5:
						_ = r.box.Drain(context.Background(), "b", fmt.Sprintf("%d/", w)) // fails now and then
					case 6:
						r.put("shared", fmt.Sprint(w), "")
						done := r.hold("shared")
						done(rnd.IntN(2) == 0)
					default:
						time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
						r.box.Wake()
						r.box.Pending()
					}
				}
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(want, mine)
			})
		}
		all.Wait()
		r.fault.Clear()
		time.Sleep(time.Hour)
		r.nothingLeft()
		for _, key := range slices.Sorted(maps.Keys(want)) {
			r.want(key, want[key])
		}
		r.close()
		if strings.Contains(r.log.String(), "level=ERROR") {
			t.Error(r.log.String())
		}
	})
}
