package crash

import (
	"errors"
	"math/rand/v2"
	"testing"

	"pailfs/s3client"
)

// observe reads objects as another client does until it is told to stop: each is a state that a writer had finished. With
// store durability it is one of the states that its path can have at that moment.
func (w *world) observe(t *testing.T, rnd *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		all := w.ledger.paths()
		if len(all) == 0 {
			continue
		}
		p := all[rnd.IntN(len(all))]
		before := w.ledger.glimpse(p)
		got, _, err := w.get(p)
		settled := !w.journal && w.ledger.glimpse(p).changes == before.changes
		switch {
		case errors.Is(err, s3client.NotFound):
			w.counts.absent.Add(1)
			if settled && !before.absent {
				w.wrong(t, &w.counts.lost, p, "another client finds nothing; it can only be one of %q", before.possible)
			}
		case errors.Is(err, s3client.Changed):
		case errors.Is(err, errTorn) && w.ledger.mayBeTorn(p):
		case errors.Is(err, errTorn):
			w.wrong(t, &w.counts.torn, p, "another client reads: %v", err)
		case err != nil:
			t.Errorf("%s: another client reads %s: %v", w.name, p, err)
		case !w.ledger.mayRead(p, got):
			w.wrong(t, &w.counts.torn, p, "another client reads what was never there: %s", got.name())
		default:
			w.counts.observed.Add(1)
			if settled && !before.bodies[got.name()] {
				w.wrong(t, &w.counts.lost, p, "another client reads %s; it can only be one of %q", got.name(), before.possible)
			}
		}
	}
}
