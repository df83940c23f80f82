package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"unique"
)

// The log says which files there are and which of their blocks were written. It is a header and records, each
//
//	length of the body (4 bytes), CRC32C of the body (4 bytes), body: a kind, then its fields
//
// appended after the bytes they speak of were written. The first record that is cut or does not match its CRC ends the
// log: what follows is unknown, and unknown is absent. The header is a record too; a log with another header belongs to
// another store, block size or format, and is emptied.
const (
	logFormat   = "pailfs disk cache 1"
	recordFrame = 8
	maxRecord   = 1 << 20
	sumsARecord = 1024 // blocks of one record at most
	manyRecords = 64 << 10

	kindCreated = 'c' // id, segment, blocks, size, bucket, key, ETag
	kindWritten = 'w' // id, first block, their checksums
	kindDropped = 'd' // id
	kindUsed    = 'u' // id: the file is the last used one now
)

var little = binary.LittleEndian

// appendRecord frames the body that fill appends.
func appendRecord(log []byte, fill func(body []byte) []byte) []byte {
	start := len(log)
	log = append(log, make([]byte, recordFrame)...)
	log = fill(log)
	body := log[start+recordFrame:]
	little.PutUint32(log[start:], uint32(len(body)))
	little.PutUint32(log[start+4:], crc32.Checksum(body, castagnoli))
	return log
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func (d *Disk) appendHeader(log []byte) []byte {
	return appendRecord(log, func(b []byte) []byte {
		return appendString(binary.AppendUvarint(appendString(b, logFormat), uint64(d.o.BlockBytes)), d.o.Store)
	})
}

func appendCreated(log []byte, p *part) []byte {
	return appendRecord(log, func(b []byte) []byte {
		v := p.key.version.Value()
		b = binary.AppendUvarint(append(b, kindCreated), p.id)
		b = binary.AppendUvarint(b, uint64(p.key.segment))
		b = binary.AppendUvarint(b, uint64(p.blocks))
		b = binary.AppendUvarint(b, uint64(v.Size))
		return appendString(appendString(appendString(b, v.Bucket), v.Key), v.ETag)
	})
}

func appendDropped(log []byte, id uint64) []byte {
	return appendRecord(log, func(b []byte) []byte { return binary.AppendUvarint(append(b, kindDropped), id) })
}

func appendUsed(log []byte, id uint64) []byte {
	return appendRecord(log, func(b []byte) []byte { return binary.AppendUvarint(append(b, kindUsed), id) })
}

// appendWritten notes blocks from first on, in as many records as it takes.
func appendWritten(log []byte, id uint64, first int64, sums []uint32) []byte {
	for len(sums) > 0 {
		some := sums[:min(len(sums), sumsARecord)]
		log = appendRecord(log, func(b []byte) []byte {
			b = binary.AppendUvarint(append(b, kindWritten), id)
			b = binary.AppendUvarint(b, uint64(first))
			for _, s := range some {
				b = little.AppendUint32(b, s)
			}
			return b
		})
		first, sums = first+int64(len(some)), sums[len(some):]
	}
	return log
}

// appendPart describes a part as it is.
func appendPart(log []byte, p *part) []byte {
	log = appendCreated(log, p)
	var run []uint32
	for i := p.first; i <= p.first+int64(p.blocks); i++ {
		if i < p.first+int64(p.blocks) && p.has(i) {
			run = append(run, p.sum(i))
			continue
		}
		log = appendWritten(log, p.id, i-int64(len(run)), run)
		run = run[:0]
	}
	return log
}

// nextRecord cuts the first record off. It reports false at the end of what is valid.
func nextRecord(log []byte) (body, rest []byte, ok bool) {
	if len(log) < recordFrame {
		return nil, nil, false
	}
	n := little.Uint32(log)
	if n == 0 || n > maxRecord || int(n) > len(log)-recordFrame {
		return nil, nil, false
	}
	body = log[recordFrame : recordFrame+int(n)]
	if crc32.Checksum(body, castagnoli) != little.Uint32(log[4:]) {
		return nil, nil, false
	}
	return body, log[recordFrame+int(n):], true
}

// fields reads a body. After the first field that is not there, all are zero and bad is set.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) number() uint64 {
	n, size := binary.Uvarint(f.b)
	if size <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[size:]
	return n
}

func (f *fields) text() string {
	n := f.number()
	if n > uint64(len(f.b)) {
		f.bad, f.b = true, nil
		return ""
	}
	s := string(f.b[:n])
	f.b = f.b[n:]
	return s
}

// replay builds the index from a log without its header and returns the parts by id, and the highest id that was used.
func (d *Disk) replay(log []byte) (parts map[uint64]*part, last uint64) {
	parts = make(map[uint64]*part)
	for {
		body, rest, ok := nextRecord(log)
		if !ok {
			return parts, last
		}
		log = rest
		f := &fields{b: body[1:]}
		id := f.number()
		last = max(last, id)
		switch p := parts[id]; {
		case f.bad:
		case body[0] == kindCreated && p == nil:
			d.replayCreated(parts, id, f)
		case p == nil: // of a part with another layout, or dropped
		case body[0] == kindWritten:
			d.replayWritten(p, f)
		case body[0] == kindDropped:
			d.mu.removeLocked(p)
			delete(parts, id)
		case body[0] == kindUsed:
			d.mu.parts.Get(p.key)
		}
	}
}

func (d *Disk) replayCreated(parts map[uint64]*part, id uint64, f *fields) {
	segment, length, size := int64(f.number()), f.number(), int64(f.number())
	v := Version{Size: size, Bucket: f.text(), Key: f.text(), ETag: f.text()}
	if f.bad || size <= 0 || segment < 0 || segment > size/d.layout.segment {
		return
	}
	// The layout depends on SizeBytes, which may have changed.
	i := segment * (d.layout.segment / d.layout.block)
	if i >= d.layout.blocks(v) {
		return
	}
	at, first, blocks := d.layout.place(v, i)
	if at != segment || uint64(blocks) != length {
		return
	}
	p := newPart(partKey{unique.Make(v), segment}, id, first, blocks)
	if old, ok := d.mu.parts.Peek(p.key); ok {
		d.mu.removeLocked(old)
		delete(parts, old.id)
	}
	parts[id] = p
	d.mu.addLocked(p)
}

func (d *Disk) replayWritten(p *part, f *fields) {
	v := p.key.version.Value()
	i := int64(f.number())
	n := int64(len(f.b) / 4)
	if f.bad || len(f.b)%4 != 0 || i < p.first || i > p.first+int64(p.blocks)-n {
		return
	}
	for j := range n {
		d.mu.gainLocked(p, i+j, d.layout.blockLen(v, i+j), little.Uint32(f.b[4*j:]), false)
	}
	d.mu.parts.Get(p.key)
}

// A diskLog is the open log. Of the writer goroutine alone.
type diskLog struct {
	f     *os.File
	size  int64 // of what is valid
	stale bool  // it lacks records that the index has: to be written anew
}

// readLog returns the records of the log in Dir when its header is right, and how many bytes of it are valid.
func (d *Disk) readLog() (records []byte, err error) {
	log, err := os.ReadFile(filepath.Join(d.o.Dir, logName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cache: read the log of the disk tier: %w", err)
	}
	header := d.appendHeader(nil)
	if len(log) < len(header) || string(log[:len(header)]) != string(header) {
		return nil, nil
	}
	return log[len(header):], nil
}

// rewrite writes the index as a new log in the place of the old one.
func (d *Disk) rewrite() error {
	d.mu.Lock()
	log := d.appendHeader(nil)
	for _, p := range d.mu.parts.Values() { // oldest first: the order of use is the order of the log
		log = appendPart(log, p)
	}
	d.mu.records = nil
	d.mu.Unlock()
	path := filepath.Join(d.o.Dir, logName)
	f, err := createLog(path+".new", log)
	if err == nil {
		if err = os.Rename(path+".new", path); err == nil {
			old := d.log
			d.log = &diskLog{f: f, size: int64(len(log))}
			return old.close()
		}
		err = errors.Join(err, f.Close())
	}
	if d.log != nil {
		d.log.stale = true
	}
	return fmt.Errorf("cache: write the log of the disk tier: %w", err)
}

func createLog(path string, log []byte) (*os.File, error) {
	fd, err := openFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if _, err := f.Write(log); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (l *diskLog) close() error {
	if l == nil {
		return nil
	}
	return l.f.Close()
}

// flush appends what is to be noted, and writes the log anew when most of it speaks of what is gone.
func (d *Disk) flush() error {
	d.mu.Lock()
	records := d.mu.records
	live := 8*d.mu.blocks + 256*int64(d.mu.parts.Len())
	stale := d.log == nil || d.log.stale || d.log.size+int64(len(records)) > 2*live+1<<20
	if !stale {
		d.mu.records = nil
	}
	d.mu.Unlock()
	switch {
	case stale && d.orphaned(): // somebody else's directory by now
		return d.revive()
	case stale:
		return d.rewrite()
	case len(records) == 0:
		return nil
	}
	n, err := d.log.f.WriteAt(records, d.log.size)
	if err != nil {
		// The half of a record would end the log for all that follow.
		d.log.stale = true
		return errors.Join(fmt.Errorf("cache: write the log of the disk tier: %w", err), d.log.f.Truncate(d.log.size))
	}
	d.log.size += int64(n)
	return nil
}

// flushMuch writes down uses that came without anything being written.
func (d *Disk) flushMuch() {
	d.mu.Lock()
	n := len(d.mu.records)
	d.mu.Unlock()
	if n < manyRecords {
		return
	}
	if err := d.flush(); err != nil {
		d.pauseFor(err)
	}
}
