package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kinds of entries: the first byte of a body.
const (
	kindKeep     = 'k' // id, flags, record, bytes or checks: the spool is kept so
	kindAmend    = 'a' // id, record: the kept spool has another record
	kindLoose    = 'l' // id: the spool's file is being changed, its checks hold no longer
	kindDrop     = 'd' // id: the spool is not kept any more
	kindNote     = 'n' // seq, kind, data: a note is added or replaced
	kindNoteDrop = 'x' // seq
	kindMark     = 'm' // nothing: carries the frame's durable
)

const (
	flagInline = 1 << iota // the bytes are in the entry, else in the spool's file
	flagChecks             // the file's checks are in the entry
)

// entry is a body, decoded. Slices point into it.
type entry struct {
	kind   byte
	id     string // of a spool
	inline bool
	record []byte // pendingJSON
	size   int64  // of the spool
	data   []byte // inline: its bytes from 0 on; behind them it is a hole
	checks []byte // sums.encode; nil: unknown

	seq      uint64 // of a note
	noteKind string
}

// encode makes an entry with room for its frame, filled up as entryBytes says, in old where that is large enough; n is the
// length of its body.
func (e entry) encode(old []byte) (buf []byte, n int) {
	buf = slices.Grow(old[:0], frameBytes+64+len(e.id)+len(e.record)+len(e.data)+len(e.checks)+len(e.noteKind))
	buf = append(append(buf, make([]byte, frameBytes)...), e.kind)
	switch e.kind {
	case kindKeep:
		var flags byte
		if e.inline {
			flags |= flagInline
		}
		if e.checks != nil {
			flags |= flagChecks
		}
		buf = append(appendBytes(buf, []byte(e.id)), flags)
		buf = binary.AppendUvarint(appendBytes(buf, e.record), uint64(e.size))
		if e.inline {
			buf = appendBytes(buf, e.data)
		}
		if e.checks != nil {
			buf = appendBytes(buf, e.checks)
		}
	case kindAmend:
		buf = appendBytes(appendBytes(buf, []byte(e.id)), e.record)
	case kindLoose, kindDrop:
		buf = appendBytes(buf, []byte(e.id))
	case kindNote:
		buf = appendBytes(appendBytes(binary.AppendUvarint(buf, e.seq), []byte(e.noteKind)), e.data)
	case kindNoteDrop:
		buf = binary.AppendUvarint(buf, e.seq)
	}
	n = len(buf) - frameBytes
	return append(buf, make([]byte, int(entryBytes(int64(n)))-len(buf))...), n
}

func appendBytes(b, p []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

// isID says whether the id of an entry that has one can be the name of a spool's file, in the directory of the spools.
func isID(e entry) bool {
	switch e.kind {
	case kindKeep, kindAmend, kindLoose, kindDrop:
		return e.id != "" && e.id != "." && e.id != ".." && !strings.ContainsAny(e.id, "/\x00")
	}
	return true
}

// errEntry: a body that passed its CRC and still makes no sense.
var errEntry = errors.New("malformed entry")

// fields reads a body from the front; the first mistake sticks.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) number() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.b, f.bad = nil, true
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) bytes() []byte {
	n := f.number()
	if n > uint64(len(f.b)) {
		f.b, f.bad = nil, true
		return nil
	}
	p := f.b[:n:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) byte() byte {
	if len(f.b) == 0 {
		f.bad = true
		return 0
	}
	c := f.b[0]
	f.b = f.b[1:]
	return c
}

func decodeEntry(body []byte) (entry, error) {
	f := &fields{b: body}
	e := entry{kind: f.byte()}
	switch e.kind {
	case kindKeep:
		e.id = string(f.bytes())
		flags := f.byte()
		e.record, e.size = f.bytes(), int64(f.number())
		if e.inline = flags&flagInline != 0; e.inline {
			e.data = f.bytes()
		}
		if flags&flagChecks != 0 {
			e.checks = f.bytes()
		}
	case kindAmend:
		e.id, e.record = string(f.bytes()), f.bytes()
	case kindLoose, kindDrop:
		e.id = string(f.bytes())
	case kindNote:
		e.seq, e.noteKind, e.data = f.number(), string(f.bytes()), f.bytes()
	case kindNoteDrop:
		e.seq = f.number()
	case kindMark:
	default:
		f.bad = true
	}
	if f.bad || len(f.b) != 0 || !isID(e) || e.size < 0 || int64(len(e.data)) > max(e.size, 0) && e.kind == kindKeep {
		return entry{}, fmt.Errorf("%w: %w of kind %q", ErrDamaged, errEntry, e.kind)
	}
	return e, nil
}
