package lagproxy

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

var (
	errHarmed = errors.New("the answer was harmed")
	errFrozen = errors.New("the connection is frozen")
)

// hold waits in the place of answers that do not come, until no more requests can: the client has gone.
func (l *link) hold() {
	for x := range l.pending {
		l.over(x, 0)
	}
}

// harm gives an answer with its fault. It returns the status that the client gets, 0 for none, and how many bytes of a body;
// its error ends the connection.
func (l *link) harm(f *Fault, x *exchange, a *answer, pace *pacer) (given int, n int64, err error) {
	switch f.Harm {
	case Silence:
		l.hold()
		return 0, 0, errHarmed
	case Lose:
		return 0, 0, errHarmed
	case Delay:
		time.Sleep(f.For)
	case Skew:
		if date, err := http.ParseTime(a.head.date); err == nil {
			a.raw = setHeader(a.raw, "Date", date.Add(f.For).UTC().Format(http.TimeFormat))
		}
	case Replace, Past:
		other := canned(x.method, f.Status, f.Code)
		if f.Harm == Past {
			other, f.Status = l.p.before(x.target), http.StatusOK
		}
		if err := a.discard(); err != nil {
			return 0, 0, err
		}
		return f.Status, int64(len(other)), l.reply(other)
	default:
		n, err = l.harmBody(f, a)
		return a.status, n, err
	}
	n, err = l.send(a.raw, a.from, a.head, a.body, pace)
	return a.status, n, err
}

// harmBody sends an answer whose body is harmed.
func (l *link) harmBody(f *Fault, a *answer) (int64, error) {
	raw, body, length := a.raw, io.Reader(a.from), a.head.length
	switch f.Harm {
	case Shift:
		raw = shiftRange(raw, f.At)
	case Extra:
		raw = setHeader(raw, "Content-Length", strconv.FormatInt(length+f.At, 10))
		body = io.MultiReader(io.LimitReader(body, length), bytes.NewReader(bytes.Repeat([]byte("x"), int(f.At))))
		length += f.At
	case Flip:
		body = &flipped{r: body, at: min(f.place(length), length-1)}
	case Stall, Cut: // a byte is missing at least
		length = min(f.place(length), length-1)
	}
	if err := l.reply(raw); err != nil {
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

func (l *link) reply(b []byte) error {
	_, err := l.client.Write(b)
	return err
}

// flipped is a body with one bit that is another.
type flipped struct {
	r  io.Reader
	at int64 // how far on, negative when it is past
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if f.at >= 0 && f.at < int64(n) {
		p[f.at] ^= 1
	}
	f.at -= int64(n)
	return n, err
}

// canned is an answer of the proxy's own.
func canned(method string, status int, code string) []byte {
	body := ""
	if code != "" && method != http.MethodHead {
		body = fmt.Sprintf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>a test says so</Message></Error>", code)
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s", status,
		http.StatusText(status), len(body), body)
}

// meet carries a request with its fault. Its error ends the connection.
func (l *link) meet(f *Fault, x *exchange, q *request, pace *pacer) error {
	switch f.Harm {
	case Drop, Reset:
		l.p.count.end(x, 0)
		if f.Harm == Reset {
			l.client.SetLinger(0) // what is left of it is an ordinary close
		}
		l.client.Close()
		return errHarmed
	case Refuse:
		return l.refuse(f, x, q)
	case Twice:
		return l.askTwice(x, q)
	}
	l.push(x)
	if _, err := l.server.Write(q.raw); err != nil {
		return err
	}
	length := q.head.length
	at := min(f.place(length), length-1)
	n, err := moveN(l.server, q.from, l.client, at, pace)
	l.p.count.in.Add(n)
	switch {
	case err != nil:
		return err
	case f.Harm == StallUp:
		l.untilGone(cmp.Or(f.For, stallTime))
		return errHarmed
	case f.Harm == CutUp:
		l.client.Close()
		return errHarmed
	}
	one, err := q.from.ReadByte()
	if err != nil {
		return err
	}
	if _, err := l.server.Write([]byte{one ^ 1}); err != nil {
		return err
	}
	n, err = moveN(l.server, q.from, l.client, length-at-1, pace)
	l.p.count.in.Add(n + 1)
	x.complete.CompareAndSwap(0, time.Now().UnixNano())
	return err
}

// refuse answers a request in the server's place, behind the answers to the requests before it. (So a client that pipelines
// and goes away meanwhile is not noticed until those are there.)
func (l *link) refuse(f *Fault, x *exchange, q *request) error {
	l.asked.Wait()
	_, err := io.CopyN(io.Discard, q.from, max(q.head.length, 0))
	if err == nil {
		err = l.reply(canned(x.method, f.Status, f.Code))
	}
	status := f.Status
	if err != nil {
		status = 0
	}
	l.p.count.end(x, status)
	return err
}

// askTwice has the server do it twice. The first answer goes nowhere.
func (l *link) askTwice(x *exchange, q *request) error {
	whole := bytes.NewBuffer(q.raw)
	if _, err := io.CopyN(whole, q.from, max(q.head.length, 0)); err != nil {
		l.p.count.end(x, 0)
		return err
	}
	ghost := &exchange{method: x.method, kind: x.kind, start: x.start, ghost: true}
	for _, one := range []*exchange{ghost, x} {
		l.push(one)
		one.complete.Store(time.Now().UnixNano())
		if _, err := l.server.Write(whole.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// stallTime is how long nothing is taken of a request that stalls, where its fault says no time of its own.
const stallTime = 10 * time.Second

// untilGone waits until the client has given up, and takes nothing from it for a while. Then all is taken and dropped: the end of
// a connection stands behind what was sent on it.
func (l *link) untilGone(stall time.Duration) {
	raw, err := l.client.SyscallConn()
	if err != nil {
		return
	}
	gone := false
	for until := time.Now().Add(stall); !gone && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		err := raw.Control(func(fd uintptr) {
			look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
			n, err := unix.Poll(look, 0)
			gone = err == nil && n > 0
		})
		if err != nil { // closed here
			return
		}
	}
	io.Copy(io.Discard, l.client) // its end is all there is to learn
}

// request and answer are messages of which the head was read.
type request struct {
	raw  []byte
	head head
	body framing
	from *bufio.Reader
}

type answer struct {
	request
	status int
}

// discard reads a body of known length and drops it.
func (a *answer) discard() error {
	if a.body == noBody {
		return nil
	}
	if a.body != fixedLength {
		return errors.New("the end of the answer is not known")
	}
	_, err := io.CopyN(io.Discard, a.from, a.head.length)
	return err
}

// remembered is the largest listing that is kept for Past.
const remembered = 4 << 20

// remember passes a listing on and keeps it.
func (l *link) remember(x *exchange, a *answer) (int64, error) {
	whole := bytes.NewBuffer(bytes.Clone(a.raw))
	if _, err := io.CopyN(whole, a.from, a.head.length); err != nil {
		return 0, err
	}
	l.p.mu.Lock()
	l.p.mu.past[x.target] = whole.Bytes()
	l.p.mu.Unlock()
	return a.head.length, l.reply(whole.Bytes())
}

func (p *Proxy) before(target string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.past[target]
}
