package lagproxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bufferBytes  = 64 << 10
	maxPipelined = 64        // requests on a connection whose answers have not come yet
	stepBytes    = 128 << 10 // moved between two looks at the clock
	// credit is how much of lost time may be made good: sleeps end late, and the average must still be the rate.
	credit = 20 * time.Millisecond
)

// link is a client's connection and the server's that belongs to it. Two goroutines carry it: requests and answers. Who
// ends first closes what the other waits for.
type link struct {
	p              *Proxy
	client, server *net.TCPConn
	pending        chan *exchange // in order; closed when no more requests come
	asked          sync.WaitGroup // those that went there and whose answers have not ended
	frozen         atomic.Bool    // nothing is carried any more
}

// push says that a request goes to the server.
func (l *link) push(x *exchange) {
	l.asked.Add(1)
	l.pending <- x // the answerer takes from it until it is closed
}

// over is the end of one that was pushed, with the status of the answer that the client got, 0 for none.
func (l *link) over(x *exchange, status int) {
	if !x.ghost {
		l.p.count.end(x, status)
	}
	l.asked.Done()
}

// requests moves requests to the server until the client ends or the server takes no more.
func (l *link) requests() {
	defer close(l.pending)
	// The server sees the end of the requests, answers what it has, and closes.
	defer l.server.CloseWrite()
	br := bufio.NewReaderSize(l.client, bufferBytes)
	pace := pacer{rate: l.p.o.Rate, frozen: &l.frozen}
	for {
		raw, err := readHead(br)
		if err != nil {
			return
		}
		if l.frozen.Load() {
			io.Copy(io.Discard, l.client) // until it gives up, which is all there is to learn
			return
		}
		h, err := parseHead(raw)
		if err != nil {
			return
		}
		method, target, _ := cut2(h.first)
		x := &exchange{method: method, target: target, kind: classify(method, target, h.copySource), start: time.Now()}
		l.p.count.begin(x)
		q := &request{raw: raw, head: h, body: h.body(false), from: br}
		if f := l.p.faultFor(x, h, q.body, false); f != nil {
			err = l.meet(f, x, q, &pace)
		} else {
			err = l.pass(x, q, &pace)
		}
		if err != nil {
			return
		}
	}
}

// pass moves a request to the server.
func (l *link) pass(x *exchange, q *request, pace *pacer) error {
	l.push(x)
	if q.body == noBody {
		x.complete.Store(time.Now().UnixNano())
	}
	if _, err := l.server.Write(q.raw); err != nil {
		return err
	}
	n, err := move(l.server, q.from, l.client, q.head, q.body, pace)
	l.p.count.in.Add(n)
	if errors.Is(err, errFrozen) {
		io.Copy(io.Discard, l.client)
	}
	x.complete.CompareAndSwap(0, time.Now().UnixNano())
	return err
}

// answers moves answers to the client until the server ends or the client takes no more.
func (l *link) answers() {
	err := l.answerAll()
	if err != nil {
		l.server.Close()
	}
	l.client.Close() // ends requests, if it has not ended
	l.hold()
}

func (l *link) answerAll() error {
	br := bufio.NewReaderSize(l.server, bufferBytes)
	pace := pacer{rate: l.p.o.Rate, frozen: &l.frozen}
	for {
		// Waiting here rather than for a request shows the client at once when the server closes an idle connection.
		if _, err := br.Peek(1); err != nil {
			return err
		}
		x, ok := <-l.pending
		if !ok {
			return errors.New("an answer without a request")
		}
		status, last, err := l.answer(br, x, &pace)
		l.over(x, status)
		if err != nil || last {
			return err
		}
	}
}

// answer moves the answer to one request, with the informational ones (100 Continue) before it, which do not wait.
func (l *link) answer(br *bufio.Reader, x *exchange, pace *pacer) (status int, last bool, err error) {
	for {
		raw, err := readHead(br)
		if err != nil {
			return 0, true, err
		}
		h, err := parseHead(raw)
		if err != nil {
			return 0, true, err
		}
		_, code, _ := cut2(h.first)
		if status, err = strconv.Atoi(code); err != nil {
			return 0, true, fmt.Errorf("status line %q", h.first)
		}
		if status >= 100 && status < 200 {
			if _, err := l.client.Write(raw); err != nil {
				return status, true, err
			}
			continue
		}
		l.delay(x)
		a := &answer{request{raw, h, h.body(true), br}, status}
		if x.method == "HEAD" || status == 204 || status == 304 {
			a.body = noBody
		}
		status, n, err := l.give(x, a, pace)
		l.p.count.out.Add(n)
		return status, h.close || a.body == untilClose, err
	}
}

// give gives the client an answer, or what becomes of it.
func (l *link) give(x *exchange, a *answer, pace *pacer) (given int, n int64, err error) {
	if l.frozen.Load() {
		l.hold()
		return 0, 0, errHarmed
	}
	if x.ghost {
		return a.status, 0, a.discard()
	}
	if f := l.p.faultFor(x, a.head, a.body, true); f != nil {
		return l.harm(f, x, a, pace)
	}
	if l.p.o.Remember && x.kind == List && a.status == 200 && a.body == fixedLength && a.head.length <= remembered {
		n, err = l.remember(x, a)
		return a.status, n, err
	}
	n, err = l.send(a.raw, a.from, a.head, a.body, pace)
	if errors.Is(err, errFrozen) {
		l.hold()
	}
	if err != nil && n == 0 {
		return 0, 0, err // the client has gone before
	}
	return a.status, n, err
}

// delay waits until the answer may leave.
func (l *link) delay(x *exchange) {
	from := x.start // an answer that comes before the request is complete
	if ns := x.complete.Load(); ns != 0 {
		from = time.Unix(0, ns)
	}
	if d := time.Until(from.Add(l.p.o.Latency)); d > 0 {
		time.Sleep(d)
	}
}

// send writes an answer's head and body; a small body that is there already goes with its head in one write.
func (l *link) send(raw []byte, br *bufio.Reader, h head, body framing, pace *pacer) (int64, error) {
	if body == fixedLength && h.length <= int64(br.Buffered()) {
		small, err := br.Peek(int(h.length))
		if err != nil {
			return 0, err
		}
		pace.begin()
		pace.wait(h.length)
		if _, err := l.client.Write(append(raw, small...)); err != nil {
			return 0, err
		}
		br.Discard(len(small))
		return h.length, nil
	}
	if _, err := l.client.Write(raw); err != nil {
		return 0, err
	}
	return move(l.client, br, l.server, h, body, pace)
}

// move moves a body, chunk framing and trailers included, and returns how many bytes it was.
func move(dst *net.TCPConn, br *bufio.Reader, src *net.TCPConn, h head, body framing, pace *pacer) (int64, error) {
	pace.begin()
	switch body {
	case fixedLength:
		return moveN(dst, br, src, h.length, pace)
	case chunked:
		return moveChunked(dst, br, src, pace)
	case untilClose:
		n, err := moveN(dst, br, src, 1<<62, pace)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return n, err
	}
	return 0, nil
}

// moveN moves n bytes: the buffered ones, then the rest from socket to socket inside the kernel.
func moveN(dst *net.TCPConn, br *bufio.Reader, src *net.TCPConn, n int64, pace *pacer) (moved int64, err error) {
	for moved < n {
		if pace.frozen.Load() {
			return moved, errFrozen
		}
		step := min(n-moved, stepBytes)
		if buffered := int64(br.Buffered()); buffered > 0 {
			b, err := br.Peek(int(min(step, buffered)))
			if err != nil {
				return moved, err
			}
			pace.wait(int64(len(b)))
			written, err := dst.Write(b)
			br.Discard(written)
			if moved += int64(written); err != nil {
				return moved, err
			}
			continue
		}
		pace.wait(step)
		m, err := io.CopyN(dst, src, step)
		moved += m
		if err != nil {
			return moved, err
		}
	}
	return moved, nil
}

func moveChunked(dst *net.TCPConn, br *bufio.Reader, src *net.TCPConn, pace *pacer) (moved int64, err error) {
	line := func() (string, error) { // one line of the framing, moved
		b, err := br.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		n, err := dst.Write(b)
		moved += int64(n)
		return string(bytes.TrimSpace(b)), err
	}
	for {
		size, err := line()
		if err != nil {
			return moved, err
		}
		n, err := chunkSize(size)
		if err != nil {
			return moved, err
		}
		if n == 0 {
			break
		}
		m, err := moveN(dst, br, src, n, pace)
		if moved += m; err != nil {
			return moved, err
		}
		if _, err := line(); err != nil { // the empty line behind a chunk
			return moved, err
		}
	}
	for { // trailers, to the empty line
		s, err := line()
		if err != nil || s == "" {
			return moved, err
		}
	}
}

// pacer holds one direction of a connection to its rate. Time in which nothing was to be moved is not made good: begin
// is called for each body.
type pacer struct {
	rate   int64 // bytes a second, 0 for no limit
	next   time.Time
	frozen *atomic.Bool // the link's
}

func (p *pacer) begin() { p.next = time.Now() }

// wait waits until n more bytes may have arrived at the other end; they are moved after it.
func (p *pacer) wait(n int64) {
	if p.rate == 0 {
		return
	}
	if oldest := time.Now().Add(-credit); p.next.Before(oldest) {
		p.next = oldest
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	if d := time.Until(p.next); d > 0 {
		time.Sleep(d)
	}
}
