package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A segment is a file of the log:
//
//	header, twice    magic, version, number, base, suspect, durable, salt, CRC32C (64 bytes each)
//	entries          each a frame of 24 bytes and a body, filled up to a multiple of 8 bytes
//	zeros            space that was allocated ahead
//
// Positions in the log count the bytes of all entries of all segments since the beginning, so that a segment's base is
// where the one before ends. A frame is
//
//	length of the body (4), CRC32C of the body (4), durable (8), CRC32C of the frame (4), zero (4)
//
// The frame's CRC covers the segment's salt and the frame's position: what looks like an entry inside somebody's file, or
// is left of a write that failed, is never taken for one. durable is the position up to which the log was known to be on
// the disk when the entry was written. It tells damage from a tail that was torn by a power cut, where a later page may
// have been written and an earlier one not: an unreadable place below the greatest durable of all is damage.
//
// suspect is the segment's base, or less than that when the one before could not be synced: from there to the base nothing
// needs to be readable, what is alive of it is in this segment again.
const (
	segmentMagic   = "pailfsJ\n"
	segmentVersion = 1
	copyBytes      = 64
	headerBytes    = 2 * copyBytes
	frameBytes     = 24
	maxBody        = 1 << 30
)

var (
	little = binary.LittleEndian
	// errBlank: a segment that was created and never used.
	errBlank = errors.New("blank segment")
)

// castagnoli is read only.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

type header struct {
	number, base, suspect, durable, salt uint64
}

func (h header) encode() []byte {
	b := append(make([]byte, 0, headerBytes), segmentMagic...)
	b = little.AppendUint64(b, segmentVersion)
	for _, v := range []uint64{h.number, h.base, h.suspect, h.durable, h.salt} {
		b = little.AppendUint64(b, v)
	}
	b = little.AppendUint64(b, uint64(crc(b)))
	return append(b, b...)
}

// decodeHeader takes whichever copy is good. ErrNewer only when neither is: a flipped bit in a version is no later one.
func decodeHeader(b []byte) (header, error) {
	if len(b) < headerBytes {
		b = append(bytes.Clone(b), make([]byte, headerBytes-len(b))...)
	}
	b = b[:headerBytes]
	if isZero(b) {
		return header{}, errBlank
	}
	first, err := decodeHeaderCopy(b[:copyBytes])
	if err == nil {
		return first, nil
	}
	second, again := decodeHeaderCopy(b[copyBytes:])
	if again == nil {
		return second, nil
	}
	return header{}, err
}

func decodeHeaderCopy(b []byte) (header, error) {
	version := little.Uint64(b[8:])
	if string(b[:8]) == segmentMagic && version > segmentVersion {
		return header{}, fmt.Errorf("%w: format %d, this one reads up to %d", ErrNewer, version, segmentVersion)
	}
	if string(b[:8]) != segmentMagic || little.Uint64(b[56:]) != uint64(crc(b[:56])) {
		return header{}, fmt.Errorf("%w: unreadable header", ErrDamaged)
	}
	return header{number: little.Uint64(b[16:]), base: little.Uint64(b[24:]), suspect: little.Uint64(b[32:]),
		durable: little.Uint64(b[40:]), salt: little.Uint64(b[48:])}, nil
}

// entryBytes is what a body takes in a segment.
func entryBytes(body int64) int64 { return (frameBytes + body + 7) &^ 7 }

// frameSum is the check of a frame's first 16 bytes at its place.
func frameSum(frame []byte, salt, pos uint64) uint32 {
	var b [32]byte
	little.PutUint64(b[0:], salt)
	little.PutUint64(b[8:], pos)
	copy(b[16:], frame[:16])
	return crc(b[:])
}

// seal fills the frame at the start of an entry whose body follows; entry has its full length.
func seal(entry []byte, body int, salt, pos, durable uint64) {
	little.PutUint32(entry[0:], uint32(body))
	little.PutUint32(entry[4:], crc(entry[frameBytes:frameBytes+body]))
	little.PutUint64(entry[8:], durable)
	little.PutUint32(entry[16:], frameSum(entry, salt, pos))
}

// frame is an entry as a scan found it.
type frame struct {
	pos      uint64
	off, n   int64 // of the frame in the file; of the body
	durable  uint64
	readable bool // frame and body are
}

// frameAt reads the frame at off; false when there is none that fits.
func frameAt(b []byte, off int64, h header) (frame, bool) {
	if off+frameBytes > int64(len(b)) {
		return frame{}, false
	}
	at := b[off:]
	pos := h.base + uint64(off-headerBytes)
	n := int64(little.Uint32(at))
	if n == 0 || n > maxBody || little.Uint32(at[16:]) != frameSum(at, h.salt, pos) {
		return frame{}, false
	}
	f := frame{pos: pos, off: off, n: n, durable: little.Uint64(at[8:])}
	if off+frameBytes+n <= int64(len(b)) {
		f.readable = crc(at[frameBytes:frameBytes+n]) == little.Uint32(at[4:])
	}
	return f, true
}

// scan finds all entries of a segment, also behind places that are none.
func scan(b []byte, h header) (found []frame) {
	for off := int64(headerBytes); off+frameBytes <= int64(len(b)); {
		if little.Uint64(b[off:]) == 0 {
			off += 8
			continue
		}
		f, ok := frameAt(b, off, h)
		if !ok {
			off += 8
			continue
		}
		found = append(found, f)
		off += entryBytes(f.n)
	}
	return found
}

// zeros is read only.
var zeros [checkBytes]byte

func isZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}
