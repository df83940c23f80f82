package lagproxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const maxHeadBytes = 256 << 10

// head is what the proxy needs to know of a request's or answer's head.
type head struct {
	first      string // request or status line
	length     int64  // Content-Length, -1 without one
	chunked    bool
	close      bool // Connection: close
	copySource bool // X-Amz-Copy-Source is there
	date       string
}

// framing says how a body ends.
type framing int

const (
	noBody framing = iota
	fixedLength
	chunked
	untilClose
)

// body is the framing of the body behind this head. An answer without a length lasts until the connection closes; a
// request without one has no body.
func (h head) body(answer bool) framing {
	switch {
	case h.chunked:
		return chunked
	case h.length > 0:
		return fixedLength
	case h.length < 0 && answer:
		return untilClose
	}
	return noBody
}

// readHead reads one head with its empty line. Empty lines before it are dropped.
func readHead(br *bufio.Reader) ([]byte, error) {
	var raw []byte
	for {
		line, err := br.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(raw) == 0 && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		raw = append(raw, line...)
		if len(raw) > maxHeadBytes {
			return nil, errors.New("the head of a message is too long")
		}
		if bytes.HasSuffix(raw, []byte("\n\r\n")) || bytes.HasSuffix(raw, []byte("\n\n")) {
			return raw, nil
		}
	}
}

func parseHead(raw []byte) (head, error) {
	h := head{length: -1}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\r\n")
		if h.first == "" {
			h.first = line
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "content-length":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return h, fmt.Errorf("Content-Length %q", value)
			}
			h.length = n
		case "transfer-encoding":
			h.chunked = strings.Contains(strings.ToLower(value), "chunked")
		case "connection":
			h.close = h.close || strings.EqualFold(value, "close")
		case "x-amz-copy-source":
			h.copySource = true
		case "date":
			h.date = value
		}
	}
	return h, nil
}

func chunkSize(line string) (int64, error) {
	size, _, _ := strings.Cut(line, ";")
	n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("chunk size %q", line)
	}
	return n, nil
}

// cut2 cuts a line at its first two spaces.
func cut2(line string) (a, b, c string) {
	a, rest, _ := strings.Cut(line, " ")
	b, c, _ = strings.Cut(rest, " ")
	return a, b, c
}
