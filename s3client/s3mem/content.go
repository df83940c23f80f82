package s3mem

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"sort"
)

// extent is a run of an object's bytes: data, or computed when data is nil. Immutable.
type extent struct {
	data []byte
	// computed: bytes [off, off+length) of ComputedAt(key, version)
	key, version string
	off, length  int64
}

func (e extent) isComputed() bool { return e.data == nil && e.length > 0 }

// slice is the part [off, off+length) of the extent.
func (e extent) slice(off, length int64) extent {
	if e.data != nil {
		d := e.data[off : off+length : off+length]
		return extent{data: d, length: length}
	}
	return extent{key: e.key, version: e.version, off: e.off + off, length: length}
}

func (e extent) readAt(p []byte, off int64) {
	if e.data != nil {
		copy(p, e.data[off:])
		return
	}
	ComputedAt(e.key, e.version, e.off+off, p)
}

// content is an object's bytes. Immutable: readers go on over it while the object is replaced.
type content struct {
	extents []extent
	ends    []int64 // ends[i] is where extents[i] ends in the object
}

func newContent(extents ...extent) content {
	var c content
	for _, e := range extents {
		if e.length == 0 {
			continue
		}
		c.extents = append(c.extents, e)
		c.ends = append(c.ends, c.size()+e.length)
	}
	return c
}

func bytesContent(p []byte) content {
	return newContent(extent{data: p, length: int64(len(p))})
}

func (c content) size() int64 {
	if len(c.ends) == 0 {
		return 0
	}
	return c.ends[len(c.ends)-1]
}

// slice is the content's range [off, off+length); the range must lie inside.
func (c content) slice(off, length int64) content {
	var out []extent
	for i := c.find(off); length > 0; i++ {
		from := off - (c.ends[i] - c.extents[i].length)
		n := min(length, c.extents[i].length-from)
		out = append(out, c.extents[i].slice(from, n))
		off, length = off+n, length-n
	}
	return newContent(out...)
}

// find is the index of the extent that holds off.
func (c content) find(off int64) int {
	return sort.Search(len(c.ends), func(i int) bool { return c.ends[i] > off })
}

// ReadAt implements io.ReaderAt.
func (c content) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for i := c.find(off); i < len(c.extents) && n < len(p); i++ {
		from := off + int64(n) - (c.ends[i] - c.extents[i].length)
		m := int(min(int64(len(p)-n), c.extents[i].length-from))
		c.extents[i].readAt(p[n:n+m], from)
		n += m
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// sum is the content's ETag as a plain object or a part: its MD5, or, so that huge objects cost nothing, the MD5 of
// the description of its extents where one of them is computed.
func (c content) sum() [md5.Size]byte {
	h := md5.New()
	computed := false
	for _, e := range c.extents {
		computed = computed || e.isComputed()
	}
	for _, e := range c.extents {
		c.hash(h, e, computed)
	}
	return [md5.Size]byte(h.Sum(nil))
}

func (content) hash(h hash.Hash, e extent, described bool) {
	switch {
	case e.isComputed():
		fmt.Fprintf(h, "%q %q %d %d\n", e.key, e.version, e.off, e.length)
	case described:
		fmt.Fprintf(h, "%x\n", md5.Sum(e.data))
	default:
		h.Write(e.data)
	}
}

func (c content) etag() string {
	s := c.sum()
	return hex.EncodeToString(s[:])
}

// ComputedAt fills p with the bytes at off of the computed object (key, version): a pure function, any two (key,
// version) pairs differ in nearly every byte.
func ComputedAt(key, version string, off int64, p []byte) {
	h := fnv.New64a()
	io.WriteString(h, key)
	h.Write([]byte{0})
	io.WriteString(h, version)
	seed := h.Sum64()
	word := uint64(off) / 8
	if skip := int(off % 8); skip != 0 && len(p) > 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], mix(seed, word))
		p = p[copy(p, w[skip:]):]
		word++
	}
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, mix(seed, word))
		word++
	}
	if len(p) > 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], mix(seed, word))
		copy(p, w[:])
	}
}

// mix is splitmix64's output function of the i-th state after seed.
func mix(seed, i uint64) uint64 {
	z := seed + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
