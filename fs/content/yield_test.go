package content

import (
	"bytes"
	"context"
	"testing"

	"pailfs/cache"
	"pailfs/s3client"
)

// A rename over a file with kept bytes, of a multipart object that is as long as what the store has of the file: the store's
// version is not the copy.
func TestAVersionOfTheSameSizeIsNoCopy(t *testing.T) {
	ctx := context.Background()
	by := cache.Version{Bucket: "b", Key: "other", ETag: "00000000000000000000000000000000-2", Size: 20 * kib}
	for _, dies := range []bool{true, false} {
		dir := t.TempDir()
		r := newRig(dir, inBackground)
		r.put("k", pattern(1, 20*kib))
		f := r.open("k")
		p := over(f, pattern(1, 20*kib), 0, pattern(9, 20*kib))
		wantFlush(t, f)
		f.Close(nil)
		d := must(r.files.Detach(ctx, obj("k")))
		check(d.Replacing(ctx, by, nil))
		if dies { // before the copy
			dead := r
			t.Cleanup(func() {
				d.Undo() // else its Close would wait for the file
				_ = dead.stop()
			})
			r, _ = r.crash(t, dir, inBackground)
			if n, failed := r.files.Recover(ctx); n != 1 || len(failed) > 0 {
				t.Errorf("stored %d, %v", n, failed)
			}
		} else { // it fails
			d.UndoReplacing(ctx)
			check(r.files.SyncAll(ctx, nil))
		}
		r.wantStored(t, "k", p)
		check(r.stop())
	}
}

// A rename that fails behind its copy has not happened: the file that it was to replace keeps its bytes, one of an earlier run too.
func TestARenameThatFailsBehindItsCopyTakesNothing(t *testing.T) {
	ctx := context.Background()
	for _, earlier := range []bool{false, true} {
		dir := t.TempDir()
		r := newRig(dir, inBackground)
		p, other := pattern(9, 20*kib), pattern(3, 30*kib)
		f := r.create("k")
		write(f, 0, p)
		wantFlush(t, f)
		f.Close(nil)
		source := r.put("other", other)
		if earlier {
			dead := r
			t.Cleanup(func() { _ = dead.stop() })
			r, _ = r.crash(t, dir, inBackground)
			must(r.files.Load(ctx))
		}
		d := must(r.files.Detach(ctx, obj("k")))
		check(d.Replacing(ctx, cache.Version{Bucket: "b", Key: "other", ETag: source.ETag, Size: source.Size}, nil))
		r.put("k", other) // the copy; the deletion of its source fails
		d.UndoReplacing(ctx)
		check(r.files.SyncAll(ctx, nil))
		r.wantStored(t, "k", p)
		if keys := conflictKeys(r); len(keys) > 0 {
			t.Errorf("conflicts with ourselves: %v", keys)
		}
		check(r.stop())
	}
}

// So it is when the process is killed after rename(2) has answered: the next run finds the copy, and stores the file over it.
func TestARenameThatFailsBehindItsCopyTakesNothingOverAKill(t *testing.T) {
	ctx := context.Background()
	times := s3client.Headers{Meta: map[string]string{"mtime": "1"}}
	for _, c := range []struct {
		name                 string
		behind, parts, based bool
	}{
		{name: "journal durability", behind: true}, {name: "store durability"},
		{name: "a multipart object", behind: true, parts: true}, {name: "over a file in part", behind: true, based: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			how := func(o *Options) { o.Behind = c.behind }
			r := newRig(dir, how)
			other := pattern(3, 30*kib)
			source := r.mem.PutBytes("b", "other", other, times)
			etag := source.ETag
			if c.parts {
				etag = "00000000000000000000000000000000-2" // the copy's is another one
			}
			p := pattern(9, 20*kib)
			var f *File
			if c.based {
				r.put("k", p)
				f = r.open("k")
				wantRead(t, f, p) // they are in memory when nobody else has them any more
				p = over(f, p, 8*kib, pattern(5, kib))
			} else {
				f = r.create("k")
				write(f, 0, p)
			}
			if c.behind {
				wantFlush(t, f)
			} else {
				away(r)
				if err := f.Flush(ctx); err == nil {
					t.Fatal("stored")
				}
				r.fault.Clear()
			}
			f.Close(nil)
			d := must(r.files.Detach(ctx, obj("k")))
			check(d.Replacing(ctx, cache.Version{Bucket: "b", Key: "other", ETag: etag, Size: source.Size}, func() *s3client.Headers { return &times }))
			r.mem.PutBytes("b", "k", other, times) // the copy; the deletion of its source is refused
			d.UndoReplacing(ctx)
			dead := r
			t.Cleanup(func() { _ = dead.stop() })
			r, _ = r.crash(t, dir, how)
			if left := must(r.files.Load(ctx)); len(left) != 1 {
				t.Errorf("left: %+v", left)
			}
			if n, failed := r.files.Recover(ctx); n != 1 || len(failed) > 0 {
				t.Errorf("stored %d, %v", n, failed)
			}
			r.wantStored(t, "k", p)
			if keys := conflictKeys(r); len(keys) > 0 {
				t.Errorf("conflicts with ourselves: %v", keys)
			}
			check(r.stop())
		})
	}
}

// A file that has given way to another object has its attributes no more.
func TestWhatGivesWayTakesItsAttributesAlong(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	r := newRig(dir, inBackground)
	f := r.create("k")
	write(f, 0, pattern(9, 20*kib))
	wantFlush(t, f)
	f.Close(nil)
	source := r.put("other", pattern(3, 30*kib))
	d := must(r.files.Detach(ctx, obj("k")))
	check(d.Replacing(ctx, cache.Version{Bucket: "b", Key: "other", ETag: source.ETag, Size: source.Size}, nil))
	t.Cleanup(func() {
		d.Undo()
		_ = r.stop()
	})
	r.put("k", pattern(3, 30*kib))
	var told []cache.Version
	next, _ := r.crash(t, dir, inBackground, func(o *Options) { o.Outdated = func(v cache.Version) { told = append(told, v) } })
	if left := must(next.files.Load(ctx)); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	if len(told) != 1 || told[0].ETag != source.ETag {
		t.Errorf("told of %+v", told)
	}
	check(next.stop())
}

// A rename of a multipart object over a file with kept bytes: its copy, which has an ETag of its own, is told by size and times.
// What another host has stored meanwhile is none, though it is as long: then both versions are kept.
func TestTheCopyOfAMultipartObjectIsTold(t *testing.T) {
	ctx := context.Background()
	times := func(at string) s3client.Headers { return s3client.Headers{Meta: map[string]string{"mtime": at}} }
	for _, c := range []struct {
		name   string
		lands  s3client.Headers // of what is under the name after the kill
		yields bool
	}{{"the copy", times("1"), true}, {"somebody else's", times("2"), false}, {"somebody else's without times", s3client.Headers{}, false}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(dir, inBackground)
			p := pattern(9, 20*kib)
			f := r.create("k")
			write(f, 0, p)
			wantFlush(t, f)
			f.Close(nil)
			id := must(r.mem.CreateUpload(ctx, "b", "other", times("1")))
			body := pattern(3, 20*kib)
			part := must(r.mem.UploadPart(ctx, s3client.PartRequest{Bucket: "b", Key: "other", UploadID: id, Number: 1, Body: bytes.NewReader(body), Size: int64(len(body))}))
			made := must(r.mem.CompleteUpload(ctx, s3client.CompleteRequest{Bucket: "b", Key: "other", UploadID: id, Parts: []s3client.Part{part}, Size: int64(len(body))}))
			d := must(r.files.Detach(ctx, obj("k")))
			check(d.Replacing(ctx, cache.Version{Bucket: "b", Key: "other", ETag: made.ETag, Size: int64(len(body))}, nil))
			dead := r
			t.Cleanup(func() {
				d.Undo()
				_ = dead.stop()
			})
			r, _ = r.crash(t, dir, inBackground)
			r.mem.PutBytes("b", "k", body, c.lands)
			must(r.files.Load(ctx))
			r.files.Recover(ctx)
			keys := conflictKeys(r)
			if c.yields != (len(keys) == 0) {
				t.Errorf("conflicts %v", keys)
			}
			if !c.yields && len(keys) == 1 {
				r.wantStored(t, keys[0], p)
			}
			r.wantStored(t, "k", body)
			check(r.stop())
		})
	}
}
