package journal

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// What a disk gives back may be anything. Reading it never ends the process, and what is taken is what was written.

// someEntries are one of each kind.
func someEntries(t testing.TB) []entry {
	t.Helper()
	record, err := encodePending(Pending{Bucket: "b", Key: "k\xff", Size: 3, Dirty: []Range{{0, 3}}, Time: time.Unix(1, 0).UTC(), Reason: "x",
		Base: &Base{Bucket: "b", Key: "k", ETag: "e", Size: 9, Limit: 3}, Headers: Headers{Meta: map[string]string{"mode": "33188"}}})
	if err != nil {
		t.Fatal(err)
	}
	checks := newSums(false)
	checks.set(0, sumOf([]byte("abc")))
	checks.set(7, sumOf(make([]byte, checkBytes)))
	return []entry{
		{kind: kindKeep, id: "s1", inline: true, record: record, size: 3, data: []byte("abc")}, {kind: kindKeep, id: "s2", record: record, size: 3, checks: checks.encode()},
		{kind: kindAmend, id: "s1", record: record}, {kind: kindLoose, id: "s2"}, {kind: kindDrop, id: "s1"}, {kind: kindNote, seq: 7, noteKind: "name", data: []byte("{}")},
		{kind: kindNoteDrop, seq: 7}, {kind: kindMark},
	}
}

// FuzzEntry: a body that is taken is written again as it was.
func FuzzEntry(f *testing.F) {
	for _, e := range someEntries(f) {
		buf, n := e.encode(nil)
		f.Add(buf[frameBytes : frameBytes+n])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := decodeEntry(body)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			return
		}
		buf, n := e.encode(nil)
		again, err := decodeEntry(buf[frameBytes : frameBytes+n])
		if err != nil || !reflect.DeepEqual(again, e) && !sameEntry(again, e) {
			t.Errorf("%+v became %+v %v", e, again, err)
		}
	})
}

// sameEntry takes nil for empty.
func sameEntry(a, b entry) bool {
	return a.kind == b.kind && a.id == b.id && a.inline == b.inline && a.size == b.size && a.seq == b.seq && a.noteKind == b.noteKind &&
		bytes.Equal(a.record, b.record) && bytes.Equal(a.data, b.data) && bytes.Equal(a.checks, b.checks)
}

// aSegment is a file with some entries.
func aSegment(t testing.TB) []byte {
	t.Helper()
	h := header{number: 1, salt: 42}
	b := h.encode()
	for _, e := range someEntries(t) {
		buf, n := e.encode(nil)
		seal(buf, n, h.salt, h.base+uint64(len(b)-headerBytes), 0)
		b = append(b, buf...)
	}
	return b
}

// FuzzSegment: what is found in a file lies within it, in order, and nothing twice.
func FuzzSegment(f *testing.F) {
	f.Add(aSegment(f))
	f.Add(make([]byte, headerBytes+100))
	f.Add([]byte(segmentMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHeader(b)
		if err != nil {
			return
		}
		end := int64(headerBytes)
		for _, e := range scan(b, h) {
			if e.off < end || e.n < 1 || e.readable && e.off+frameBytes+e.n > int64(len(b)) {
				t.Fatalf("an entry of %d bytes at %d, behind %d of %d", e.n, e.off, end, len(b))
			}
			end = e.off + entryBytes(e.n)
		}
	})
}

// FuzzRecordFile: records as earlier versions kept them.
func FuzzRecordFile(f *testing.F) {
	b, err := encode(Pending{Bucket: "b", Key: "k", Size: 5, Dirty: []Range{{1, 2}, {4, 1}}, Parts: nil, Upload: "u"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":2,"sha256":"","pending":{}}`))
	f.Add([]byte(`{"version":1,"sha256":"","pending":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decode(b)
		if err == nil && p.check() != nil {
			t.Errorf("%+v: %v", p, p.check())
		}
	})
}

// FuzzPending: what a record says makes sense, or it is refused.
func FuzzPending(f *testing.F) {
	for _, e := range someEntries(f)[:3] {
		f.Add(e.record)
	}
	f.Add([]byte(`{"bucket":"b","key":{"base64":"/w=="},"size":9223372036854775807,"dirty":[{"off":9223372036854775806,"len":1}]}`))
	f.Add([]byte(`{"bucket":"b","key":"k","size":1,"base":{"size":1,"limit":2}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePending(b)
		if err != nil {
			return
		}
		if p.Size < 0 || p.dirtyEnd() > p.Size || p.Bucket == "" || p.Key == "" {
			t.Errorf("%+v", p)
		}
		again, err := encodePending(p)
		if err != nil {
			t.Skip(err) // a time that JSON does not have
		}
		q, err := decodePending(again)
		if err != nil || q.Key != p.Key || q.Size != p.Size || !reflect.DeepEqual(q.Dirty, p.Dirty) && len(p.Dirty) > 0 {
			t.Errorf("%+v became %+v %v", p, q, err)
		}
	})
}

// FuzzSums: checks take no more memory than they are long, whatever they say of themselves.
func FuzzSums(f *testing.F) {
	s := newSums(false)
	s.set(0, sumOf([]byte("abc")))
	s.set(1023, sumOf(make([]byte, checkBytes)))
	s.set(1<<40, sumOf(make([]byte, checkBytes)))
	f.Add(s.encode())
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSums(b)
		if err != nil {
			return
		}
		if s.count() > int64(len(b))/4 {
			t.Errorf("%d checks of %d bytes", s.count(), len(b))
		}
		again, err := decodeSums(s.encode())
		if err != nil || again.count() != s.count() || again.end() != s.end() {
			t.Errorf("%d checks became %v %v", s.count(), again, err)
		}
	})
}

// FuzzOpen: a journal whose one segment is anything is opened, or refused with an error; what it gives can be read or is an error, and
// afterwards it opens again.
func FuzzOpen(f *testing.F) {
	f.Add(aSegment(f))
	cut := aSegment(f)
	f.Add(cut[:len(cut)-9])
	f.Add(make([]byte, 4096))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "log", segmentName(1)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			j, err := OpenWith(Options{Dir: dir, Log: slog.New(slog.DiscardHandler), untended: true, segmentBytes: 64 << 10})
			if errors.Is(err, ErrNewer) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			kept, _ := j.Pendings() // with what cannot be read
			for _, r := range kept {
				s, err := r.Open()
				if err != nil {
					continue
				}
				_, err = io.Copy(io.Discard, io.NewSectionReader(s, 0, min(r.Size, 1<<20)))
				if err = errors.Join(err, s.Close()); err != nil && !errors.Is(err, ErrDamaged) {
					t.Error(err)
				}
			}
			j.Notes("name")
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
