package s3client

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// gate bounds the requests in flight and the writes a second. Both can be changed while requests wait.
//
// A body that is being sent may be read, behind an io.ReaderAt, from this same client: such requests take at most three
// quarters of the slots, so that the reads they wait for always find one.
type gate struct {
	slots  *slots
	bodies *slots
	writes atomic.Pointer[rate.Limiter] // nil: no limit
	number atomic.Int64                 // of slots
}

func newGate(requests int, writesPerSecond float64) *gate {
	g := &gate{slots: newSlots(1), bodies: newSlots(1)}
	g.setRequests(requests)
	g.setWrites(writesPerSecond)
	return g
}

// setRequests changes how many requests are in flight at once. What is in flight stays so.
func (g *gate) setRequests(n int) {
	n = max(n, leastRequests)
	g.number.Store(int64(n))
	g.bodies.resize(n - max(1, n/4))
	g.slots.resize(n)
}

// setWrites changes the writes a second; 0 is no limit. Who waits for his turn by an earlier limit goes on doing so.
func (g *gate) setWrites(perSecond float64) {
	if perSecond <= 0 {
		g.writes.Store(nil)
		return
	}
	// A fifth of a second may be spent at once: bursts of small files are not slowed, the store's second is kept.
	g.writes.Store(rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/5))))
}

// writesPerSecond is 0 for no limit.
func (g *gate) writesPerSecond() float64 {
	if l := g.writes.Load(); l != nil {
		return float64(l.Limit())
	}
	return 0
}

// enter waits for the write rate and then for a slot. The error is the context's.
func (g *gate) enter(ctx context.Context, write, body bool) (leave func(), err error) {
	if writes := g.writes.Load(); write && writes != nil {
		if err := writes.Wait(ctx); err != nil {
			if ctx.Err() == nil {
				return nil, context.DeadlineExceeded // the turn would come after the context's deadline
			}
			return nil, ctx.Err()
		}
	}
	if body {
		if err := g.bodies.take(ctx); err != nil {
			return nil, err
		}
	}
	if err := g.slots.take(ctx); err != nil {
		if body {
			g.bodies.free()
		}
		return nil, err
	}
	return func() {
		g.slots.free()
		if body {
			g.bodies.free()
		}
	}, nil
}

// Limits are what can be changed while a client works. As they are told, 0 is no limit.
type Limits struct {
	Requests  int     // in flight at once
	WriteRate float64 // writes a second
	Up, Down  int64   // bytes of bodies a second
}

const (
	leastRequests = 2
	// LeastBandwidth is the smallest limit of bytes a second: with less, a block takes longer than stores wait.
	LeastBandwidth = 64 << 10
)

func (l Limits) validate() error {
	switch {
	case l.Requests < 0 || l.WriteRate < 0 || l.Up < 0 || l.Down < 0:
		return badConfig("limits cannot be negative")
	case l.Up > 0 && l.Up < LeastBandwidth, l.Down > 0 && l.Down < LeastBandwidth:
		return badConfig("a bandwidth of less than %d bytes a second moves nothing", LeastBandwidth)
	}
	return nil
}

// usualWriteRate is the limit of writes a second where nobody gives one; 0 is none.
func (p Profile) usualWriteRate() float64 {
	if p.Name == "nhn" {
		return nhnWriteRate
	}
	return 0
}

// Limits are those in force.
func (c *Client) Limits() Limits {
	return Limits{Requests: int(c.gate.number.Load()), WriteRate: c.gate.writesPerSecond(),
		Up: c.wire.up.perSecond(), Down: c.wire.down.perSecond()}
}

// SetLimits puts others in force, for what begins from now on and for bodies that are on their way. Of Requests and WriteRate 0
// means what it does in Config.
func (c *Client) SetLimits(l Limits) error {
	if err := l.validate(); err != nil {
		return err
	}
	if l.Requests == 0 {
		l.Requests = defaultMaxRequests
	}
	c.gate.setRequests(l.Requests)
	if l.WriteRate == 0 {
		l.WriteRate = c.profile.usualWriteRate()
	}
	if l.WriteRate != c.gate.writesPerSecond() {
		c.gate.setWrites(l.WriteRate)
	}
	c.wire.up.set(l.Up)
	c.wire.down.set(l.Down)
	return nil
}

// bandwidth bounds the bytes of bodies in one direction, of all requests together. The zero value is no limit.
type bandwidth struct {
	limiter atomic.Pointer[rate.Limiter]
}

// pieceTime is the most bytes at once, as a time: with all requests in flight each waits some seconds for its piece at worst,
// and none for so long that a store gives up on it.
const pieceTime = 100 * time.Millisecond

// set changes it; 0 is no limit. Bodies that wait go on by the new one.
func (b *bandwidth) set(perSecond int64) {
	if perSecond <= 0 {
		b.limiter.Store(nil)
		return
	}
	piece := max(int(perSecond*int64(pieceTime)/int64(time.Second)), leastPiece)
	if l := b.limiter.Load(); l != nil {
		l.SetLimit(rate.Limit(perSecond))
		l.SetBurst(piece)
		return
	}
	b.limiter.Store(rate.NewLimiter(rate.Limit(perSecond), piece))
}

const leastPiece = 8 << 10

func (b *bandwidth) perSecond() int64 {
	if l := b.limiter.Load(); l != nil {
		return int64(l.Limit())
	}
	return 0
}

// piece is what may be asked for at once, of n.
func (b *bandwidth) piece(n int) int {
	if l := b.limiter.Load(); l != nil {
		return min(n, max(l.Burst(), 1))
	}
	return n
}

// longestNap is how long a body sleeps before it looks at the limit again, and says that it is alive.
const longestNap = time.Second

// wait returns when n bytes may pass. While it sleeps it says so every now and then: the time is this client's own doing,
// not the store's. The error is the context's.
func (b *bandwidth) wait(ctx context.Context, n int, sleeping func()) error {
	for n > 0 {
		l := b.limiter.Load()
		if l == nil {
			return nil
		}
		now, piece := time.Now(), min(n, l.Burst())
		turn := l.ReserveN(now, piece)
		if !turn.OK() { // the burst has shrunk in between
			continue
		}
		n -= piece
		for pause := turn.DelayFrom(now); pause > 0; pause = turn.DelayFrom(time.Now()) {
			sleeping()
			if b.limiter.Load() != l {
				return nil // there is no limit any more
			}
			if err := sleep(ctx, min(pause, longestNap)); err != nil {
				turn.Cancel()
				return err
			}
		}
	}
	return nil
}
