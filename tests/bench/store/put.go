package store

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const bufferBytes = 256 << 10

func (x *exchange) putObject() {
	seg, etag, err := x.receive()
	if err != nil {
		x.broken(err)
		return
	}
	obj := &object{segments: []segment{seg}, size: seg.size, etag: etag, modified: time.Now(), header: kept(x.r.Header)}
	if x.stored(obj) {
		x.w.Header().Set("ETag", quoted(etag))
		x.empty(http.StatusOK)
	}
}

// stored puts an object; where that cannot be it has answered.
func (x *exchange) stored(obj *object) bool {
	switch x.s.objects.put(x.bucket, x.key, obj, x.r.Header.Get("If-None-Match") == "*") {
	case http.StatusOK:
		return true
	case http.StatusPreconditionFailed:
		x.fail(http.StatusPreconditionFailed, "PreconditionFailed", "the object is there")
	default:
		x.noBucket()
	}
	removeFiles(obj.segments)
	return false
}

// receive stores the request's body as a file. The ETag is the content's CRC-32C and length: MD5 would cost more than
// everything else here.
func (x *exchange) receive() (seg segment, etag string, err error) {
	f, err := os.Create(x.s.objects.newPath())
	if err != nil {
		return seg, "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var body io.Reader = &pacedReader{r: x.r.Body, rate: x.conn.rate, x: x}
	if strings.HasPrefix(x.r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		body = &chunkReader{r: bufio.NewReaderSize(body, bufferBytes)}
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(f, sum)}, body, make([]byte, bufferBytes))
	if err != nil {
		return seg, "", errors.Join(err, os.Remove(f.Name()))
	}
	x.complete = time.Now()
	return segment{f.Name(), 0, n}, fmt.Sprintf("%08x%024x", sum.Sum32(), n), nil
}

// kept are the headers of a request that an object keeps.
func kept(h http.Header) http.Header {
	out := http.Header{}
	for name, v := range h {
		switch name {
		case "Content-Type", "Cache-Control", "Content-Disposition", "Content-Language", "Expires":
			out[name] = v
		case "Content-Encoding":
			rest := slices.DeleteFunc(strings.Split(v[0], ","), func(s string) bool { return strings.TrimSpace(s) == "aws-chunked" })
			if e := strings.Join(rest, ","); e != "" {
				out.Set(name, e)
			}
		default:
			if strings.HasPrefix(name, "X-Amz-Meta-") {
				out[name] = v
			}
		}
	}
	if out.Get("Content-Type") == "" {
		out.Set("Content-Type", "application/octet-stream") // else net/http would look at the content for one
	}
	return out
}

// source finds a copy's source; where it cannot it has answered.
func (x *exchange) source() (*object, bool) {
	name, err := url.PathUnescape(x.r.Header.Get("X-Amz-Copy-Source"))
	if err != nil {
		x.fail(http.StatusBadRequest, "InvalidArgument", err.Error())
		return nil, false
	}
	bucketName, key, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	obj, there := x.s.objects.find(bucketName, key)
	switch {
	case !there:
		x.noBucket()
	case obj == nil:
		x.noKey()
	case !matches(x.r.Header.Get("X-Amz-Copy-Source-If-Match"), obj.etag, true):
		x.fail(http.StatusPreconditionFailed, "PreconditionFailed", "the source is another one now")
	default:
		return obj, true
	}
	return nil, false
}

type copyResult struct {
	XMLName      xml.Name
	ETag         string
	LastModified string
}

func (x *exchange) copyObject() {
	from, ok := x.source()
	if !ok {
		return
	}
	segments, err := x.s.objects.link(from.segments, 0, from.size)
	if err != nil {
		x.broken(err)
		return
	}
	obj := &object{segments: segments, size: from.size, etag: from.etag, modified: time.Now(), header: from.header}
	if strings.EqualFold(x.r.Header.Get("X-Amz-Metadata-Directive"), "REPLACE") {
		obj.header = kept(x.r.Header)
	}
	if x.stored(obj) {
		x.marshal(copyResult{xml.Name{Local: "CopyObjectResult"}, quoted(obj.etag), stamp(obj.modified)})
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// pacedReader reads no faster than the rate and counts. What a sleep takes too long is made good in the next ones.
type pacedReader struct {
	r    io.Reader
	rate int64
	x    *exchange
	next time.Time
}

func (p *pacedReader) Read(b []byte) (int, error) {
	if p.rate > 0 && p.next.IsZero() {
		p.next = time.Now()
	}
	n, err := p.r.Read(b)
	if p.x.far {
		p.x.s.count.in.Add(int64(n))
	}
	if p.rate > 0 {
		p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
		time.Sleep(time.Until(p.next))
	}
	return n, err
}

// chunkReader takes the framing off a body of signed chunks (aws-chunked). Signatures and trailers are not looked at.
type chunkReader struct {
	r    *bufio.Reader
	left int64 // of the chunk
	done bool
}

func (c *chunkReader) Read(b []byte) (int, error) {
	for c.left == 0 {
		if c.done {
			return 0, io.EOF
		}
		line, err := c.r.ReadString('\n')
		if err != nil {
			return 0, fmt.Errorf("the head of a chunk: %w", io.ErrUnexpectedEOF)
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		if size == "" {
			continue // behind a chunk
		}
		if c.left, err = strconv.ParseInt(size, 16, 64); err != nil || c.left < 0 {
			return 0, fmt.Errorf("the size of a chunk: %q", size)
		}
		if c.left == 0 {
			c.done = true
			if _, err := io.Copy(io.Discard, c.r); err != nil {
				return 0, err
			}
		}
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
