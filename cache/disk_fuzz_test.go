package cache

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"unique"
)

// A cache may hold anything: what cannot be read is not there, and what is read is right or is fetched.

// FuzzDiskLog: an index made of any log is one: its numbers fit, and its memory is bounded by what the log says.
func FuzzDiskLog(f *testing.F) {
	p := newPart(partKey{unique.Make(Version{Bucket: "b", Key: "k", ETag: "e", Size: 3 * testBlock}), 0}, 7, 0, 3)
	log := appendCreated(nil, p)
	log = appendWritten(log, 7, 0, []uint32{1, 2, 3})
	log = appendUsed(log, 7)
	f.Add(log)
	f.Add(appendDropped(bytes.Clone(log), 7))
	f.Add(appendWritten(bytes.Clone(log), 7, 1<<62, []uint32{1}))
	f.Add(appendWritten(bytes.Clone(log), 7, 1<<63-2, []uint32{1, 2, 3}))
	huge := newPart(partKey{unique.Make(Version{Bucket: "b", Key: "k", Size: 1 << 62}), 0}, 8, 0, 128)
	f.Add(appendCreated(nil, huge))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := &Disk{o: DiskOptions{SizeBytes: testDisk, BlockBytes: testBlock}}
		d.layout = newLayout(d.o)
		d.mu.index = newIndex()
		// As it stands, and with checks that fit: damage is found by those, and what has them may still make no sense.
		d.replay(body)
		if len(body) > 0 && len(body) < maxRecord {
			d.replay(appendRecord(nil, func(b []byte) []byte { return append(b, body...) }))
		}
		blocks, charged := int64(0), int64(0)
		for _, p := range d.mu.parts.Values() {
			v := p.key.version.Value()
			if p.first < 0 || p.blocks < 1 || p.have < 0 || p.have > p.blocks || p.first+int64(p.blocks) > d.layout.blocks(v) || d.layout.fileSize(p) < 1 {
				t.Errorf("part %+v of %+v", p, v)
			}
			blocks, charged = blocks+int64(p.have), charged+p.bytes
		}
		if blocks != d.mu.blocks || charged != d.mu.bytes {
			t.Errorf("%d blocks of %d bytes, counted %d and %d", blocks, charged, d.mu.blocks, d.mu.bytes)
		}
	})
}

// FuzzArchiveFile: a file of any content is read to its first damage, and is usable afterwards.
func FuzzArchiveFile(f *testing.F) {
	good := appendKept(appendKept(archiveHead("store"), "k", []byte("v")), "l", nil)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(archiveMagic))
	f.Add(append(archiveHead("store"), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "a")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := OpenArchive(ArchiveOptions{Path: path, Store: "store"})
		if err != nil {
			t.Fatal(err)
		}
		read := 0
		if err := a.Load(func(key string, value []byte) { read += len(key) + len(value) }); err != nil {
			t.Fatal(err)
		}
		if read > len(text) {
			t.Errorf("%d bytes out of %d", read, len(text))
		}
		a.Start(func(string, []byte) bool { return true })
		a.Put("new", []byte("value"))
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := OpenArchive(ArchiveOptions{Path: path, Store: "store"})
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		found := false
		if err := again.Load(func(key string, value []byte) { found = found || key == "new" && string(value) == "value" }); err != nil || !found {
			t.Errorf("%v %v", found, err)
		}
	})
}

// FuzzDiskOpen: a directory whose log is anything is opened, and gives it up in order.
func FuzzDiskOpen(f *testing.F) {
	d := &Disk{o: DiskOptions{BlockBytes: testBlock, Store: "store"}}
	p := newPart(partKey{unique.Make(Version{Bucket: "b", Key: "k", ETag: "e", Size: 2 * testBlock}), 0}, 7, 0, 2)
	f.Add(appendPart(d.appendHeader(nil), p))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, log []byte) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, ownDir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, logName), log, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := OpenDisk(DiskOptions{Dir: dir, SizeBytes: testDisk, BlockBytes: testBlock, Store: "store"})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
