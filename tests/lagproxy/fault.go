package lagproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Harm is what becomes of an answer.
type Harm int

const (
	Silence Harm = iota // nothing of it comes
	Stall               // nothing comes behind At bytes of its body
	Cut                 // the connection is closed behind At bytes of its body
	Shift               // its Content-Range says the bytes are At further on than they are
	Extra               // At bytes too many; its Content-Length counts them
)

var harmNames = [...]string{"silence", "stall", "cut", "shift", "extra"}

func (h Harm) String() string { return harmNames[h] }

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

// Fault befalls answers, from the moment it is given to Strike.
type Fault struct {
	Harm  Harm  `json:"harm"`
	At    int64 `json:"at"`
	Kind  Kind  `json:"kind"`  // of the requests whose answers it befalls
	Skip  int   `json:"skip"`  // so many of them are spared first
	Times int   `json:"times"` // so many are befallen; 0 for no end
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

// Struck is how many answers were harmed so far.
func (p *Proxy) Struck() int64 { return p.count.struck.Load() }

// faultFor is the fault of the next answer to a request of a kind, nil for none.
func (p *Proxy) faultFor(k Kind) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range p.mu.faults {
		switch {
		case f.Kind != k:
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
		return &befalls
	}
	return nil
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

// hold waits in the place of answers that do not come, until no more requests can: the client has gone.
func (l *link) hold() {
	for x := range l.pending {
		l.p.count.end(x, 0)
	}
}

var (
	errHarmed = errors.New("the answer was harmed")
	errFrozen = errors.New("the connection is frozen")
)

// harm sends an answer with its fault. Its error ends the connection.
func (l *link) harm(f *Fault, raw []byte, body io.Reader, h head) (int64, error) {
	if f.Harm == Silence {
		l.hold()
		return 0, errHarmed
	}
	length := max(h.length, 0)
	switch f.Harm {
	case Shift:
		raw = shiftRange(raw, f.At)
	case Extra:
		raw = setHeader(raw, "Content-Length", strconv.FormatInt(length+f.At, 10))
		body = io.MultiReader(io.LimitReader(body, length), bytes.NewReader(bytes.Repeat([]byte("x"), int(f.At))))
		length += f.At
	case Stall, Cut:
		length = min(length, f.At)
	}
	if _, err := l.client.Write(raw); err != nil {
		return 0, err
	}
	n, err := io.CopyN(l.client, body, length)
	if err == nil && f.Harm == Stall {
		l.hold()
	}
	if err == nil && (f.Harm == Stall || f.Harm == Cut) {
		err = errHarmed
	}
	return n, err
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
