// Package opid gives an operation a short name that travels in its context, so that all lines of a log about it can be found:
// one request of the kernel (f17), one commit that no call asked for (c3), one request for names that wait (n2), the parts of one
// file that are sent while it is written (s1). It is a leaf; fs, fs/content, fs/outbox and fs/upload name operations, the command's
// log writes the name on each line that was logged with the context. What several operations wait for, a fetch of the cache, has
// the name of the one that it was begun for; what nobody waits for yet, a readahead, has none.
package opid

import (
	"context"
	"strconv"
)

// ID names an operation of this process.
type ID struct {
	Kind byte   // f: a request of the kernel, c: a commit in the background, n: of the outbox, s: a stream of parts
	N    uint64 // from 1
}

func (id ID) String() string { return string(id.Kind) + strconv.FormatUint(id.N, 36) }

// Key is the context's key; a context of another type answers for it.
type Key struct{}

// With names an operation.
func With(ctx context.Context, id ID) context.Context { return context.WithValue(ctx, Key{}, id) }

// Carry gives a context the name of the operation that another one belongs to, and nothing else of it.
func Carry(to, from context.Context) context.Context {
	id, ok := Of(from)
	if !ok {
		return to
	}
	return With(to, id)
}

// Of is the name of the operation that a context belongs to; false for none.
func Of(ctx context.Context) (ID, bool) {
	id, _ := ctx.Value(Key{}).(ID)
	return id, id != ID{}
}
