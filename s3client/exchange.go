package s3client

import (
	"context"
	"log/slog"
	"time"
)

// Exchange is one attempt of a call: a request and what came of it.
type Exchange struct {
	Op          string // as in Error
	Bucket, Key string
	Attempt     int           // from 1
	Status      int           // of the answer; 0 for none
	RequestID   string        // the store's
	Took        time.Duration // until the answer was understood; of an object that is read, until its header was
	Err         error         // nil for success
}

// LogValue is for a line of a log. There is no secret in it: nothing of headers and bodies.
func (e Exchange) LogValue() slog.Value {
	all := []slog.Attr{slog.String("call", e.Op), slog.String("object", e.Bucket+"/"+e.Key), slog.Int("attempt", e.Attempt),
		slog.Int("status", e.Status), slog.String("request", e.RequestID), slog.Duration("took", e.Took)}
	if e.Err != nil {
		all = append(all, slog.Any("err", e.Err))
	}
	return slog.GroupValue(all...)
}

func (c *Client) tell(ctx context.Context, o op, at *attempt, before int, e *Error) {
	if c.trace == nil {
		return
	}
	x := Exchange{Op: o.name, Bucket: o.bucket, Key: o.key, Attempt: before + 1, Status: at.status, RequestID: at.requestID(),
		Took: time.Since(at.start)}
	if e != nil {
		x.Err = e
	}
	c.trace(ctx, x)
}
