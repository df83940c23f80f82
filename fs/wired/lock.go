package wired

import (
	"cmp"
	"context"
	"errors"
	"time"

	"pailfs/fs/journal"
)

// lockPatience is how long a state directory may be in use before a mount gives up: another one looks through it for orphans
// in milliseconds.
const lockPatience = time.Second

// OpenJournal opens a mount's own journal. It waits for who has it for a moment.
func OpenJournal(ctx context.Context, o journal.Options) (*journal.Journal, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		j, err := journal.OpenWith(o)
		if !errors.Is(err, journal.ErrLocked) {
			return j, err
		}
		select {
		case <-time.After(lockPatience / 20):
		case <-ctx.Done():
			return nil, cmp.Or(err, ctx.Err())
		}
	}
}
