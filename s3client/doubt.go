package s3client

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
)

// Doubt tells what an answer does not: whether the store may have carried the call out more than once. An upload's creation
// that is repeated after a broken connection can leave an upload whose id nobody has heard.
type Doubt struct{ yes atomic.Bool }

type doubtKey struct{}

// WithDoubt makes a context for one call that notes in the Doubt when an attempt broke off without an answer, whatever
// became of the attempts after it.
func WithDoubt(ctx context.Context) (context.Context, *Doubt) {
	d := &Doubt{}
	return context.WithValue(ctx, doubtKey{}, d), d
}

// Doubtful is for those who make calls: it notes that nobody knows what became of an attempt.
func Doubtful(ctx context.Context) {
	if d, _ := ctx.Value(doubtKey{}).(*Doubt); d != nil {
		d.yes.Store(true)
	}
}

// Any says whether there is one.
func (d *Doubt) Any() bool { return d.yes.Load() }

// unreached says that an attempt ended before there was a connection.
func unreached(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
