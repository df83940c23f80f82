package s3client

import (
	"context"
	"errors"
	"net"
	"strings"
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

// InDoubt is the last error of a write of which an earlier attempt may have been carried out without an answer. A refusal speaks
// of its own attempt alone: who took it for the store's word that nothing was done would leave an object behind, or overwrite the
// only one. So its kind is Temporary, with the store's words and the request's id. What says how things stand in the store
// (NotFound, Exists, NotEmpty, Changed) stays.
func InDoubt(last error) error {
	var e *Error
	if !errors.As(last, &e) {
		return last
	}
	switch e.Kind {
	case Denied, Throttled, TooLarge, Unsupported, Invalid:
	default:
		return last
	}
	is := *e
	is.Kind, is.Message = Temporary, strings.TrimPrefix(e.Message+"; an earlier attempt had no answer", "; ")
	if KindOf(e.Err) != Unknown { // a source's: its kind would be believed
		is.Err = errors.New(e.Err.Error())
	}
	return &is
}

// unreached says that an attempt ended before there was a connection.
func unreached(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
