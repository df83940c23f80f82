package lagproxy

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"time"
)

// Harm is what becomes of an answer or of a request. Where it is done At bytes into a body, a negative At is its middle.
type Harm int

// These befall answers: the server has done what it was asked.
const (
	Silence Harm = iota // nothing of it comes
	Stall               // nothing comes behind At bytes of its body
	Cut                 // the connection is closed behind At bytes of its body
	Shift               // its Content-Range says the bytes are At further on than they are
	Extra               // At bytes too many; its Content-Length counts them
	Delay               // it comes For later
	Flip                // one bit of the byte At of its body is another
	Lose                // the connection is closed instead
	Replace             // an answer with Status and Code comes instead
	Skew                // its Date is For off
	Past                // of a listing: what the same question was answered the time before (Options.Remember)
)

// These befall requests. The server hears nothing of the first three.
const (
	Refuse  Harm = Past + 1 + iota // it is answered with Status and Code
	Drop                           // the connection is closed
	Reset                          // the connection is reset
	StallUp                        // nothing is taken behind At bytes of its body, For so long, or 10 seconds
	CutUp                          // the connection is closed behind At bytes of its body
	FlipUp                         // one bit of the byte At of its body is another
	Twice                          // the server is asked twice; the answer is the second one
)

var harmNames = [...]string{"silence", "stall", "cut", "shift", "extra", "delay", "flip", "lose", "replace", "skew", "past",
	"refuse", "drop", "reset", "stall-up", "cut-up", "flip-up", "twice"}

func (h Harm) String() string { return harmNames[h] }

// ofRequests says whether it befalls requests, else answers.
func (h Harm) ofRequests() bool { return h >= Refuse }

// MarshalText and UnmarshalText are the names, for JSON.
func (h Harm) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads a name.
func (h *Harm) UnmarshalText(text []byte) error {
	for i, name := range harmNames {
		if name == string(text) {
			*h = Harm(i)
			return nil
		}
	}
	return fmt.Errorf("a harm %q: one of %q", text, harmNames)
}

// Fault befalls requests and answers, from the moment it is given to Strike. One that cannot be harmed so (there is no byte
// to flip in a body that is empty) is passed over, as one of another kind is.
type Fault struct {
	Harm   Harm          `json:"harm"`
	At     int64         `json:"at"`
	Kind   Kind          `json:"kind"`            // of the requests whose answers it befalls
	Kinds  []Kind        `json:"kinds,omitempty"` // these, in place of Kind
	Skip   int           `json:"skip"`            // so many of them are spared first
	Times  int           `json:"times"`           // so many are befallen; 0 for no end
	Status int           `json:"status,omitempty"`
	Code   string        `json:"code,omitempty"` // of the error document; "" for an answer without a body
	For    time.Duration `json:"for,omitempty"`
}

// Stroke is a harm that was done.
type Stroke struct {
	Harm   Harm
	Method string
	Kind   Kind
	Target string // of the request
	Status int    // of the answer given in another's place
}

// Strike adds a fault. Of several that befall one answer the first added does its harm.
func (p *Proxy) Strike(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.faults = append(p.mu.faults, &f)
}

// Heal takes all faults away. What is silent or stalled stays so.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.faults = nil
}

// Struck is how many requests and answers were harmed so far.
func (p *Proxy) Struck() int64 { return p.count.struck.Load() }

// Strokes are the harms that were done since the last call of it.
func (p *Proxy) Strokes() []Stroke {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.mu.strokes
	p.mu.strokes = nil
	return all
}

// faultFor is the fault of a request, or of its answer, nil for none. h and body are of the one that would be harmed.
func (p *Proxy) faultFor(x *exchange, h head, body framing, answer bool) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range p.mu.faults {
		switch {
		case f.Harm.ofRequests() == answer, !f.fits(x.kind, body):
			continue
		case f.Harm == Past && p.mu.past[x.target] == nil, f.Harm == Skew && h.date == "":
			continue
		case f.Skip > 0:
			f.Skip--
			continue
		}
		befalls := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				p.mu.faults = append(p.mu.faults[:i:i], p.mu.faults[i+1:]...)
			}
		}
		p.count.struck.Add(1)
		p.mu.strokes = append(p.mu.strokes, Stroke{f.Harm, x.method, x.kind, x.target, f.Status})
		return &befalls
	}
	return nil
}

// fits says whether a message of a kind and with such a body can be harmed so.
func (f *Fault) fits(k Kind, body framing) bool {
	if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, k) || len(f.Kinds) == 0 && f.Kind != k {
		return false
	}
	switch f.Harm {
	case Stall, Cut, Shift, Extra, Flip, StallUp, CutUp, FlipUp:
		return body == fixedLength
	case Replace, Past, Refuse, Twice:
		return body == fixedLength || body == noBody
	}
	return true
}

// place is At in a body of so many bytes.
func (f *Fault) place(length int64) int64 {
	if f.At < 0 {
		return length / 2
	}
	return min(f.At, length)
}

// Freeze makes the connections that are open now carry nothing any more, in either direction, and stay open: what a
// client sees of a router that has lost its state. At most what is moving at this moment still arrives. New connections
// are as before.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.mu.links {
		l.frozen.Store(true)
	}
}

// Leave breaks all connections and refuses new ones, as a host does on which nothing listens any more. Return ends it.
func (p *Proxy) Leave() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed || p.mu.left {
		return nil
	}
	p.mu.left = true
	err := p.mu.ln.Close()
	for c := range p.mu.conns {
		c.Close()
	}
	return err
}

// Return listens again, at the same address.
func (p *Proxy) Return() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed || !p.mu.left {
		return nil
	}
	ln, err := net.Listen("tcp", p.address)
	if err != nil {
		return fmt.Errorf("lagproxy: listen again: %w", err)
	}
	p.mu.ln, p.mu.left = ln, false
	p.wg.Go(func() { p.accept(ln) })
	return nil
}

// setHeader gives a head's line another value.
func setHeader(raw []byte, name, value string) []byte {
	var out []byte
	for line := range bytes.Lines(raw) {
		if key, _, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(key, []byte(name)) {
			line = []byte(name + ": " + value + "\r\n")
		}
		out = append(out, line...)
	}
	return out
}

// shiftRange moves the range that a head says; a head without one stays.
func shiftRange(raw []byte, by int64) []byte {
	for line := range bytes.Lines(raw) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		var first, last, total int64
		if !bytes.EqualFold(key, []byte("Content-Range")) {
			continue
		}
		if _, err := fmt.Sscanf(string(value), " bytes %d-%d/%d", &first, &last, &total); err == nil {
			return setHeader(raw, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", first+by, last+by, total+by))
		}
	}
	return raw
}
