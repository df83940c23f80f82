package mount

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

const (
	inStore   = "store"
	inJournal = "journal"
)

// both runs a test in both durabilities.
func both(t *testing.T, f func(t *testing.T, durability string)) {
	t.Helper()
	for _, d := range []string{inStore, inJournal} {
		t.Run(d, func(t *testing.T) { f(t, d) })
	}
}

// writing is a mount whose store is watched.
type writing struct {
	t      *testing.T
	s      *testenv.Server // directly
	p      *storeproxy.Proxy
	far    *testenv.Server // through the proxy
	bucket string
	m      *testenv.MountPoint
}

// write mounts a bucket with objects in it behind a proxy.
func writes(t *testing.T, durability string, objects map[string][]byte, options ...testenv.Option) *writing {
	t.Helper()
	w := &writing{t: t, s: start(t)}
	w.bucket = w.s.Bucket(t)
	putAll(t, w.s, w.bucket, objects)
	w.behind()
	w.m = w.mount(durability, options...)
	return w
}

// behind puts a proxy before the store.
func (w *writing) behind() {
	w.t.Helper()
	p, err := storeproxy.Open(w.s.Endpoint)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	far := *w.s
	far.Endpoint = p.Endpoint()
	w.p, w.far = p, &far
}

func (w *writing) mount(durability string, options ...testenv.Option) *testenv.MountPoint {
	w.t.Helper()
	if durability != inStore {
		options = append([]testenv.Option{testenv.Args("--durability", durability)}, options...)
	}
	return mount(w.t, w.far, w.bucket, options...)
}

// again mounts the bucket anew with the state directory of a mount that was killed.
func (w *writing) again(durability string, options ...testenv.Option) *testenv.MountPoint {
	w.t.Helper()
	w.m = w.mount(durability, append([]testenv.Option{testenv.At(w.m.Dir), testenv.State(w.m.StateDir)}, options...)...)
	return w.m
}

func (w *writing) path(elem ...string) string { return w.m.Path(elem...) }

// flush waits until the store has everything.
func (w *writing) flush() {
	w.t.Helper()
	if out, code := w.m.Command("flush", w.m.Dir); code != 0 {
		w.t.Fatalf("flush: exit code %d\n%s", code, out)
	}
}

// stored waits for the store in journal durability; in the other nothing is to be waited for.
func (w *writing) stored(durability string) {
	w.t.Helper()
	if durability == inJournal {
		w.flush()
	}
}

// took waits until nothing is asked any more and gives the requests since the last time.
func (w *writing) took() requests {
	w.t.Helper()
	var all []storeproxy.Request
	eventually(w.t, "all requests have ended", func() (ok bool) {
		all, ok = w.p.Take()
		return ok
	})
	return all
}

// requests are those of a while.
type requests []storeproxy.Request

func (all requests) String() string {
	var b strings.Builder
	b.WriteString(storeproxy.Label(all))
	for i, r := range all {
		if i == 40 {
			b.WriteString("\n  ...")
			break
		}
		b.WriteString("\n  " + r.String())
	}
	return b.String()
}

func (all requests) of(ops ...storeproxy.Op) (some requests) {
	for _, r := range all {
		if r.Ops(ops...) {
			some = append(some, r)
		}
	}
	return some
}

func (all requests) but(ops ...storeproxy.Op) (some requests) {
	for _, r := range all {
		if !r.Ops(ops...) {
			some = append(some, r)
		}
	}
	return some
}

// done are those that the store has carried out.
func (all requests) done() (some requests) {
	for _, r := range all {
		if r.Done {
			some = append(some, r)
		}
	}
	return some
}

// sent is how many bytes of content went up: what documents weigh is not counted.
func (all requests) sent() (n int64) {
	for _, r := range all.of(storeproxy.Put, storeproxy.Part) {
		n += r.Up
	}
	return n
}

func (all requests) fetched() (n int64) {
	for _, r := range all.of(storeproxy.Get) {
		n += r.Down
	}
	return n
}

// noUploads sees that no multipart upload is left in the bucket: what is being cleared away is waited for.
func (w *writing) noUploads() {
	w.t.Helper()
	eventually(w.t, "no upload is left", func() bool {
		ups, err := w.s.Client.Uploads(w.t.Context(), w.bucket, "")
		return err == nil && len(ups) == 0
	})
}

// holds sees that the bucket's objects are these and no others, with these bytes. Directories' markers are left out.
func (w *writing) holds(want map[string][]byte) {
	w.t.Helper()
	found := map[string]bool{}
	for _, key := range keys(w.t, w.s, w.bucket) {
		if strings.HasSuffix(key, "/") {
			continue
		}
		found[key] = true
		content, ok := want[key]
		if !ok {
			w.t.Errorf("the bucket has %q", key)
			continue
		}
		if got := object(w.t, w.s, w.bucket, key); !bytes.Equal(got, content) {
			w.t.Errorf("the object %s: %d bytes, want %d; or others", key, len(got), len(content))
		}
	}
	for key := range want {
		if !found[key] {
			w.t.Errorf("the bucket lacks %q", key)
		}
	}
}

// watched looks at an object as another client does, all the time, until the test calls the func it returns. Every body
// must be one of the versions; how often each was seen is returned (-1: the object was not there).
func (w *writing) observed(key string, versions ...[]byte) (end func() map[int]int) {
	stop := make(chan struct{})
	var watching sync.WaitGroup
	seen := map[int]int{}
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			seen[w.look(key, versions)]++
		}
	})
	return func() map[int]int {
		close(stop)
		watching.Wait()
		return seen
	}
}

// look says which version of an object a client reads; -1 for none.
func (w *writing) look(key string, versions [][]byte) int {
	body, o, err := w.s.Client.Get(w.t.Context(), getWhole(w.bucket, key))
	if isAbsent(err) {
		return -1
	}
	if err != nil {
		w.t.Errorf("another client: %v", err)
		return -1
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil && !isChanged(err) {
		w.t.Errorf("another client: %v", err)
		return -1
	}
	for i, v := range versions {
		if bytes.Equal(got, v) {
			return i
		}
	}
	w.t.Errorf("another client reads %d bytes of %s (%d by its head): no version that was ever whole", len(got), key, o.Size)
	return -1
}

// pending is what these tests read of the status.
type pending struct {
	State   string `json:"state"`
	Unsaved struct {
		Count  int `json:"count"`
		Failed int `json:"failed"`
	} `json:"unsaved"`
	Conflicts struct {
		Count int `json:"count"`
		Files []struct {
			Path string `json:"path"`
			Kept string `json:"kept"`
		} `json:"files"`
	} `json:"conflicts"`
}

// pendingNow is the status, with its text for what the struct lacks.
func (w *writing) pendingNow() (p pending, text string) {
	w.t.Helper()
	text, code := w.m.Command("status", "--json", w.m.Dir)
	from, to := strings.IndexByte(text, '['), strings.LastIndexByte(text, ']')
	if from < 0 || to < from {
		w.t.Fatalf("status: %d %s", code, text)
	}
	var list []pending
	if err := json.Unmarshal([]byte(text[from:to+1]), &list); err != nil || len(list) != 1 {
		w.t.Fatalf("status: %v, %d %s", err, code, text)
	}
	return list[0], text
}

// fill writes a file in pieces of a MiB, as programs do that produce what they write.
func fill(t *testing.T, f *os.File, content []byte) {
	t.Helper()
	for len(content) > 0 {
		n := min(len(content), 1<<20)
		if _, err := f.Write(content[:n]); err != nil {
			t.Fatal(err)
		}
		content = content[n:]
	}
}

// modest leaves the large cases out of a short run.
func modest(t *testing.T) {
	t.Helper()
	if testing.Short() {
		testenv.Skip(t, "-short")
	}
}
