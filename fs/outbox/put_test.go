package outbox

import (
	"errors"
	"testing"
	"time"

	"pailfs/s3client"
)

// A put of an earlier run that was kept for long does not replace what somebody else has stored since.
func TestAnOldPutAsksFirst(t *testing.T) {
	for name, c := range map[string]struct {
		before string // stored under the key when the change is made; deleted by it where deletes
		delete string // the version that is deleted first: "=" the one before, "any"
		after  string // stored by another client while the process is dead; "=" what the put would have stored
		calls  map[string]int64
		want   string
		moot   bool
	}{
		"nothing there":        {calls: map[string]int64{"Head": 1, "Put": 1}, want: "mine:1"},
		"carried out already":  {after: "=", calls: map[string]int64{"Head": 1}, want: "mine:1"},
		"stored by another":    {after: "theirs", calls: map[string]int64{"Head": 1}, want: "theirs:first", moot: true},
		"replaces":             {before: "old", calls: map[string]int64{"Head": 1, "Put": 1}, want: "mine:1"},
		"replaces a deleted":   {before: "old", delete: "=", calls: map[string]int64{"Head": 1, "Put": 1}, want: "mine:1"},
		"deleted, and another": {before: "old", delete: "=", after: "theirs", calls: map[string]int64{"Head": 1}, want: "theirs:first", moot: true},
		"replaces whatever":    {before: "old", delete: "any", after: "landed late", calls: map[string]int64{"Put": 1}, want: "mine:1"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t)
				if c.before != "" {
					o := r.stored("k", c.before)
					time.Sleep(time.Minute)
					switch c.delete {
					case "=":
						r.delete("k", o.ETag)
					case "any":
						r.delete("k", "")
					}
				}
				seq := r.put("k", "mine", "1")
				r.crash()
				time.Sleep(2 * time.Hour)
				switch c.after {
				case "":
				case "=":
					r.mem.PutBytes("b", "k", []byte("mine"), withMode("1"))
				default:
					r.stored("k", c.after)
				}
				r.start()
				if err := r.box.Drain(t.Context(), "b", "k"); errors.Is(err, ErrGivenUp) != c.moot || errors.Is(err, s3client.Changed) != c.moot {
					t.Errorf("drained: %v", err)
				}
				r.calls(c.calls)
				r.want("k", c.want)
				if d := r.settled(); len(d) != 1 || d[0].Op.Seq != seq || (d[0].Err != nil) != c.moot {
					t.Errorf("settled: %+v", d)
				}
				r.nothingLeft()
				r.close()
			})
		})
	}
}

// A mount that comes back at once stores what it had accepted, as if it had not been away.
func TestAYoungPutDoesNotAsk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.put("k", "mine", "1")
		r.crash()
		r.start()
		r.drain("k")
		r.calls(map[string]int64{"Put": 1})
		r.close()
	})
}

// The second put of a chain finds the first one's object, later than itself.
func TestAPutThatFollowsAPut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		begun, release := r.stuck("Put")
		r.put("k", "first", "1")
		<-begun
		r.put("k", "second", "2")
		time.Sleep(time.Minute)
		r.notes.die(true)
		release()
		r.crash()
		time.Sleep(2 * time.Hour)
		r.start()
		r.drain("k")
		r.want("k", "second:2")
		r.nothingLeft()
		r.close()
	})
}

func TestDrainKeepsToTheName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		for _, key := range []string{"dir", "dir/", "dir/a", "dir/sub/b", "dirx", "dir.old/c", "di"} {
			r.put(key, "", "1")
		}
		r.drain("dir")
		r.calls(map[string]int64{"Put": 4})
		for _, key := range []string{"dirx", "dir.old/c", "di"} {
			r.want(key, "")
		}
		r.drain("dirx/")
		r.calls(map[string]int64{"Put": 4})
		r.drain("")
		r.nothingLeft()
		r.close()
	})
}
