package outbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"pailfs/s3client"
)

// spoiling lets so many puts arrive with other bytes, and says so, as upload.Uploader.Put does.
func spoiling(r *rig, n *int) func(*Options) {
	return func(o *Options) {
		o.Put = func(ctx context.Context, req s3client.PutRequest) (s3client.Object, error) {
			if *n--; *n < 0 {
				return r.fault.Put(ctx, req)
			}
			obj := r.mem.PutBytes(req.Bucket, req.Key, []byte("spoiled"), req.Headers)
			return obj, &s3client.Error{Op: "PUT Object", Kind: s3client.Unknown, Code: "ETagMismatch"}
		}
	}
}

// What arrived with other bytes is nobody else's: the next run replaces it, however long it was away, and leaves alone what
// somebody else has stored over it.
func TestTheNextRunReplacesWhatArrivedWithOtherBytes(t *testing.T) {
	for name, c := range map[string]struct {
		before, theirs string
		tries          int // that arrive wrong in the next run, too
		want           string
		moot           bool
	}{
		"new":                       {want: "mine:1"},
		"over another":              {before: "old", want: "mine:1"},
		"wrong in that run, too":    {tries: 3, want: "mine:1"},
		"replaced by another since": {theirs: "theirs", want: "theirs:first", moot: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t)
				r.crash()
				if c.before != "" {
					r.stored("k", c.before)
					time.Sleep(time.Minute)
				}
				n := 1 << 30
				r.start(spoiling(r, &n))
				seq := r.put("k", "mine", "1")
				time.Sleep(time.Minute)
				r.want("k", "spoiled:1")
				r.crash()
				time.Sleep(2 * time.Hour)
				if c.theirs != "" {
					r.stored("k", c.theirs)
				}
				n = c.tries
				r.start(spoiling(r, &n))
				err := r.box.Drain(t.Context(), "b", "k")
				if (err != nil) != (c.tries > 0 || c.moot) || errors.Is(err, ErrGivenUp) != c.moot {
					t.Errorf("drained: %v", err)
				}
				time.Sleep(time.Hour)
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
