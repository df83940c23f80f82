package main

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

const (
	pageBytes = 4 << 10
	wordBytes = 8
)

// content is what an object holds: each word of it follows from the object's key and the word's place, so that a part
// that came from anywhere else shows, and nothing has to be kept to compare with.
type content struct {
	seed uint64
	size int64
}

func contentOf(key string, size int64) content {
	h := fnv.New64a()
	h.Write([]byte(key))
	return content{h.Sum64(), size}
}

// word is SplitMix64.
func (c content) word(i int64) uint64 {
	z := c.seed + uint64(i)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fill writes what is at off; off and the length are multiples of wordBytes.
func (c content) fill(b []byte, off int64) {
	for i := 0; i < len(b); i += wordBytes {
		binary.LittleEndian.PutUint64(b[i:], c.word((off+int64(i))/wordBytes))
	}
}

// check compares a word of each page, and the last one. It costs far less than reading does.
func (c content) check(b []byte, off int64) error {
	first := (off + wordBytes - 1) / wordBytes * wordBytes
	last := (off+int64(len(b)))/wordBytes*wordBytes - wordBytes
	for at := first; at <= last; at += pageBytes {
		if err := c.checkWord(b, off, at); err != nil {
			return err
		}
	}
	if last < first {
		return nil
	}
	return c.checkWord(b, off, last)
}

func (c content) checkWord(b []byte, off, at int64) error {
	if got, want := binary.LittleEndian.Uint64(b[at-off:]), c.word(at/wordBytes); got != want {
		return fmt.Errorf("wrong content at %d: %016x, not %016x", at, got, want)
	}
	return nil
}

// reader reads the content from its beginning.
func (c content) reader() io.Reader { return &contentReader{c: c} }

type contentReader struct {
	c    content
	off  int64
	page [64 * kib]byte
	rest []byte
}

func (r *contentReader) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		n := min(int64(len(r.page)), r.c.size-r.off)
		if n == 0 {
			return 0, io.EOF
		}
		r.rest = r.page[:n]
		r.c.fill(r.rest, r.off)
		r.off += n
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
