package content

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// names records what Hold and Guard were asked for.
type names struct {
	sync.Mutex
	held, guarded map[ID]int
	log           []string
}

func (n *names) hold(_ context.Context, id ID) (func(), error) {
	n.Lock()
	defer n.Unlock()
	n.held[id]++
	n.log = append(n.log, "hold "+id.Key)
	return func() {
		n.Lock()
		defer n.Unlock()
		n.held[id]--
	}, nil
}

func (n *names) guard(_ context.Context, id ID) (func(bool), error) {
	n.Lock()
	defer n.Unlock()
	n.guarded[id]++
	return func(stored bool) {
		n.Lock()
		defer n.Unlock()
		n.guarded[id]--
		n.log = append(n.log, map[bool]string{true: "stored ", false: "not stored "}[stored]+id.Key)
	}, nil
}

func (n *names) take() (log string) {
	n.Lock()
	defer n.Unlock()
	log = strings.Join(n.log, ", ")
	n.log = nil
	return log
}

func TestHoldAndGuard(t *testing.T) {
	n := &names{held: make(map[ID]int), guarded: make(map[ID]int)}
	bubble(t, func(t *testing.T, r *rig) {
		want := func(what, want string) {
			t.Helper()
			if got := n.take(); got != want {
				t.Errorf("%s: %s; want %s", what, got, want)
			}
			n.Lock()
			defer n.Unlock()
			for id, k := range n.held {
				if k != 0 || n.guarded[id] != 0 {
					t.Errorf("%s: %v is held still", what, id)
				}
			}
		}
		f := r.create("k")
		write(f, 0, []byte("x"))
		wantFlush(t, f)
		want("flush", "")
		time.Sleep(time.Second)
		want("in the background", "hold k, stored k")
		write(f, 0, []byte("y"))
		wantSync(t, f)
		want("sync", "stored k")
		write(f, 0, []byte("z"))
		if _, moved, err := r.files.Move(bg, obj("k"), obj("m"), nil); moved != MovedStored || err != nil {
			t.Fatal(moved, err)
		}
		want("move", "stored m, stored k") // k was deleted: what waits for it is moot
		write(f, 0, []byte("!"))
		if err := r.files.SyncUnder(bg, "b", "m"); err != nil {
			t.Fatal(err)
		}
		want("sync under", "stored m")
		write(f, 0, []byte("?"))
		no := r.fault.Add(s3fault.Rule{Call: "Put", Before: s3client.Denied})
		if err := r.files.SyncAll(bg, nil); err == nil {
			t.Error("synced")
		}
		no.Remove()
		want("sync all that fails", "hold m, not stored m")
		if err := r.files.SyncAll(bg, nil); err != nil {
			t.Error(err)
		}
		want("sync all", "hold m, stored m")
		f.Close(nil)
	}, func(o *Options) { o.Hold, o.Guard = n.hold, n.guard })
}

// The name changes while the background waits for it.
func TestHoldOfANameThatChanges(t *testing.T) {
	var r *rig
	var once sync.Once
	var held []string
	bubble(t, func(t *testing.T, it *rig) {
		r = it
		f := r.create("k")
		write(f, 0, []byte("x"))
		wantFlush(t, f)
		f.Close(nil)
		time.Sleep(time.Second)
		r.wantStored(t, "m", []byte("x"))
		if got := strings.Join(held, " "); got != "k m" || r.exists("k") {
			t.Errorf("held %s", got)
		}
	}, func(o *Options) {
		o.Hold = func(_ context.Context, id ID) (func(), error) {
			held = append(held, id.Key)
			once.Do(func() {
				if _, moved, err := r.files.Move(bg, obj("k"), obj("m"), nil); moved != MovedPending || err != nil {
					t.Error(moved, err)
				}
			})
			return func() {}, nil
		}
	})
}
