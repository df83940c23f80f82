package crash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// section is a part of a file's body that is written at once. Its bytes follow from its seed and length.
type section struct {
	seed   uint64
	length int // with its header
}

// body is a file's content: one section after the other.
type body []section

const (
	magic       = 0x5041494c424f4459
	headerBytes = 32
)

func (s section) bytes() []byte {
	b := make([]byte, s.length)
	binary.BigEndian.PutUint64(b, magic)
	binary.BigEndian.PutUint64(b[8:], s.seed)
	binary.BigEndian.PutUint64(b[16:], uint64(s.length))
	binary.BigEndian.PutUint32(b[24:], crc32.ChecksumIEEE(b[:24]))
	x := s.seed*2654435761 + 88172645463325252
	for i := headerBytes; i < len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], x)
		copy(b[i:], word[:])
	}
	return b
}

func (b body) size() (n int64) {
	for _, s := range b {
		n += int64(s.length)
	}
	return n
}

func (b body) bytes() []byte {
	all := make([]byte, 0, b.size())
	for _, s := range b {
		all = append(all, s.bytes()...)
	}
	return all
}

// name tells bodies apart.
func (b body) name() string {
	var s strings.Builder
	s.WriteString("file")
	for _, section := range b {
		fmt.Fprintf(&s, " %x+%d", section.seed, section.length)
	}
	return s.String()
}

var errTorn = errors.New("torn")

// parse reads what a body says of itself. Bytes that no writer wrote as a whole are errTorn.
func parse(b []byte) (body, error) {
	var found body
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < headerBytes || binary.BigEndian.Uint64(rest) != magic || crc32.ChecksumIEEE(rest[:24]) != binary.BigEndian.Uint32(rest[24:]) {
			return found, fmt.Errorf("%w: no section begins at %d of %d bytes", errTorn, at, len(b))
		}
		s := section{binary.BigEndian.Uint64(rest[8:]), int(binary.BigEndian.Uint64(rest[16:]))}
		if s.length < headerBytes || s.length > len(rest) {
			return found, fmt.Errorf("%w: a section at %d of %d bytes should have %d", errTorn, at, len(b), s.length)
		}
		if !bytes.Equal(rest[:s.length], s.bytes()) {
			return found, fmt.Errorf("%w: the section at %d of %d bytes holds others", errTorn, at, len(b))
		}
		found = append(found, s)
		at += s.length
	}
	return found, nil
}

func TestBodiesShowWhatTheyAre(t *testing.T) {
	b := body{{1, 32}, {2, 100}, {3, 5000}}
	all := b.bytes()
	got, err := parse(all)
	if err != nil || got.name() != b.name() || b.size() != int64(len(all)) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := parse(nil); err != nil || len(got) != 0 {
		t.Errorf("an empty one: %v, %v", got, err)
	}
	for name, torn := range map[string][]byte{
		"cut":       all[:len(all)-1],
		"zeros":     make([]byte, 100),
		"longer":    append(bytes.Clone(all), 0),
		"a mixture": append(bytes.Clone(all[:3000]), section{4, 5000}.bytes()[3000-132:]...),
		"a hole":    append(append(bytes.Clone(all[:1000]), make([]byte, 1000)...), all[2000:]...),
	} {
		if got, err := parse(torn); !errors.Is(err, errTorn) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := parse(all[:132]); err != nil || got.name() != b[:2].name() {
		t.Errorf("what is whole without its last section: %v, %v", got, err)
	}
}
