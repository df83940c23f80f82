package content

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"time"

	"pailfs/cache"
	"pailfs/s3client"
)

// What this mount itself may have stored under a file's name without knowing it: an upload whose answer did not come, or
// came to a process that was killed then. Such a version is no other writer's. The file notes which ETags its states have,
// in its record too, and what is found with one of them becomes the file's base.
//
// The file's layout stays right over it: every state that was sent since the base had at least the bytes of the base that
// the present one still has.

// mostOwn is how many ETags and stamps a file remembers, the latest: one or two stand for an upload without an answer.
const mostOwn = 32

// own is the set of versions under a file's name that it may replace beside its base.
type own struct {
	etags  []string // and stamps
	any    bool     // whatever is there: its deletion had been accepted, without naming a version
	copies copies   // of other objects: the file's bytes do not stand on them
}

func (o *own) has(obj s3client.Object) bool { return o.any || o.made(obj) }

func (o *own) made(obj s3client.Object) bool {
	return slices.Contains(o.etags, obj.ETag) || slices.Contains(o.etags, stamp(obj.Size, obj.Headers))
}

// spoiled says whether an object arrived with other bytes than were sent. One that has the ETag of a state of the file has that one's.
// So has one that a rename which failed has put there: it is as little of the file.
func (o *own) spoiled(obj s3client.Object) bool {
	if slices.Contains(o.etags, spoiled(obj.ETag)) {
		return !slices.Contains(o.etags, obj.ETag)
	}
	s := stamp(obj.Size, obj.Headers)
	return s != "" && slices.Contains(o.etags, spoiled(s)) && !o.made(obj)
}

// stamp stands for the ETag of an object that is copied onto itself for its attributes: nobody knows that before, but no other
// writer's object has this size and these times. "": the attributes have no times.
func stamp(size int64, h *s3client.Headers) string {
	if h == nil || h.Meta["mtime"] == "" {
		return ""
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(h.Meta)) {
		fmt.Fprintf(sum, "%q=%q\n", name, h.Meta[name])
	}
	return fmt.Sprintf("=%d %x", size, sum.Sum(nil)[:16])
}

func (o *own) add(etags ...string) {
	for _, e := range etags {
		if e != "" && !slices.Contains(o.etags, e) {
			o.etags = append(o.etags, e)
		}
	}
	if n := len(o.etags) - mostOwn; n > 0 {
		o.etags = slices.Clone(o.etags[n:])
	}
}

// spoiled stands for the ETag of what the store has made of other bytes than were sent (upload.Job.Spoiled). The file replaces
// it and stands on no byte of it.
func spoiled(etag string) string { return "!" + etag }

// noteSpoiled notes that the store has made something of the file that the file is not. Until it is replaced the name has an object
// that nobody else deletes, whatever the upload's error says.
func (f *File) noteSpoiled(etag string) {
	f.mu.Lock()
	f.mu.uncertain = true
	f.mu.Unlock()
	f.noteSent(spoiled(etag))
}

func (f *File) isSpoiled(o s3client.Object) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.sent.spoiled(o)
}

// overSpoiled lets the next round store the file over what arrived with other bytes. What of the base is nowhere any more is
// not taken from there: which of its bits are right nobody knows. The caller has the turn.
func (f *File) overSpoiled(ctx context.Context, remote s3client.Object) error {
	err := f.fetchAll(ctx)
	switch {
	case errors.Is(err, s3client.NotFound), errors.Is(err, s3client.Changed):
		return f.keepRest(ctx, errors.Join(ErrConflict, err))
	case err != nil:
		return err
	}
	return f.overwrites(f.ID(), remote)
}

// Replaces says that the file of an earlier run that has the id was made over a version that was to be deleted: the file
// replaces it, and whatever is there where the deletion named no ETag.
func (s *Files) Replaces(id ID, etag string) {
	f := s.pin(id)
	if f == nil {
		return
	}
	defer s.unpin(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.recovered && f.mu.layout.base == 0 {
		f.mu.sent.any = f.mu.sent.any || etag == ""
		f.mu.sent.add(etag)
	}
}

// Uncertain says whether nobody knows which version the store has under an id: an upload of the file had no answer.
func (s *Files) Uncertain(id ID) bool {
	f, ok := s.Get(id)
	if !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.uncertain
}

// takeOwn makes an object the base if an earlier state of the file made it.
func (f *File) takeOwn(o s3client.Object) bool {
	now := f.rewriting()
	f.mu.Lock()
	under := f.underLocked()
	ours := !f.mu.superseded && !f.mu.sent.spoiled(o) && (f.mu.foreign || f.mu.layout.base <= o.Size) &&
		(f.mu.sent.has(o) || f.mu.rewrite.made(under, f.mu.sent, o) || now.made(under, f.mu.sent, o) || f.clonedLocked(o))
	if ours {
		b := &Base{Seen: f.files.o.Now(), Version: cache.Version{Bucket: f.mu.id.Bucket, Key: f.mu.id.Key, ETag: o.ETag, Size: o.Size}}
		if f.mu.foreign {
			f.mu.own = b
		} else {
			f.mu.base = b
			close(f.mu.rebased)
			f.mu.rebased = make(chan struct{})
		}
	}
	f.mu.Unlock()
	if ours {
		f.again()
	}
	return ours
}

// clonedLocked says whether an object is the copy that the file is of another object: made, and not known of.
func (f *File) clonedLocked(o s3client.Object) bool {
	l := &f.mu.layout
	return f.mu.foreign && f.mu.uncertain && f.mu.own == nil && l.isWhole(o.Size) &&
		o.ETag == f.mu.base.Version.ETag
}

// rewrite is a change of the attributes of a version that was begun.
type rewrite struct {
	etag    string // "": of whichever version there was
	headers s3client.Headers
}

// made says whether an object is the version under a file, or one that the file replaces, with the new attributes: the store
// took them, and the answer was lost, or the process died before it came.
func (r *rewrite) made(under *Base, replaced own, o s3client.Object) bool {
	switch {
	case r == nil || o.Headers == nil || !reflect.DeepEqual(*o.Headers, r.headers):
		return false
	case under == nil:
		return r.etag != "" && slices.Contains(replaced.etags, r.etag)
	}
	return (r.etag == "" || under.Version.ETag == r.etag) && o.Size == under.Version.Size
}

// rewriting is the change of the file's attributes that the store may have taken without an answer; nil: none.
func (f *File) rewriting() *rewrite {
	if f.files.o.Rewriting == nil {
		return nil
	}
	etag, h, ok := f.files.o.Rewriting(f.ID())
	if !ok {
		return nil
	}
	return &rewrite{etag, h}
}

// Rewrites says that the version etag of an object was to have other headers, of which the store may have made another
// version: a file of an earlier run that stands on the one stands on the other as well.
func (s *Files) Rewrites(id ID, etag string, h s3client.Headers) {
	f := s.pin(id)
	if f == nil {
		return
	}
	defer s.unpin(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.recovered {
		f.mu.rewrite = &rewrite{etag, h}
	}
}

// noteSent notes ETags and stamps that an upload of the file may give to its object, in the record too; there durably, since
// the store may have the object as soon as this returns.
func (f *File) noteSent(etags ...string) {
	f.recording <- struct{}{} // what is kept from now on has it
	defer f.recording.give()
	f.mu.Lock()
	f.mu.sent.add(etags...)
	k := f.keptLocked()
	f.mu.Unlock()
	if k == nil {
		return
	}
	err := f.reenter(k)
	if err == nil {
		err = f.files.o.Journal.Sync()
	}
	if err != nil {
		f.files.o.Log.Warn("the journal does not take what a file is stored as", "file", f.ID().String(), "err", err)
	}
}

// ofEarlierRunAlone says whether the file is one that an earlier run left and that nobody has opened.
func (f *File) ofEarlierRunAlone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.recovered && f.mu.refs == 0
}

func (f *File) recoveredHeaders() *s3client.Headers {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.headers
}

// foretell notes what a request will make of a state, where the state alone does not tell it afterwards: bytes of it come from
// the base, which is replaced, and which the cache may have dropped when the request ends without an answer.
func (f *File) foretell(ctx context.Context, snap *snapshot, id ID, h *s3client.Headers) error {
	f.mu.Lock()
	mine, uncertain := f.mu.id == id, f.mu.uncertain
	f.mu.Unlock()
	whole, inParts := snap.layout.isWhole(snap.version.Size), !f.onePut(snap)
	switch {
	case !mine || len(snap.layout.missing()) == 0:
		return nil
	case whole, inParts && uncertain: // it may be there, with attributes of before
		f.noteSent(stamp(snap.layout.size, h))
		return nil
	case inParts: // Making is told
		return nil
	}
	etag, err := f.etagOf(ctx, snap)
	if err != nil {
		return err
	}
	f.noteSent(etag)
	return nil
}

// onePut says whether a state is stored by one PUT.
func (f *File) onePut(snap *snapshot) bool {
	return snap.stream == nil && snap.layout.size <= f.files.o.Uploader.Limits().SinglePut
}

// etagOf is the MD5 of a state's bytes. What of the base is not here comes in large pieces, and is in the cache for the upload.
func (f *File) etagOf(ctx context.Context, snap *snapshot) (string, error) {
	h, c := md5.New(), newContent(ctx, snap, f.files.o.Blocks)
	c.Ahead(0, snap.layout.size)
	if _, err := io.Copy(h, io.NewSectionReader(c, 0, snap.layout.size)); err != nil {
		return "", fmt.Errorf("read %s: %w", snap.id, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// addOnItsWay notes what the kept state that is on its way to the store will be there, for the record of a later one; so
// too one whose PUT may have been carried out without an answer, by an earlier run for instance. Where that needs the
// network (bytes of the base) the upload says it itself, as it does of parts; but what was uploaded in parts and then copied
// onto itself for its attributes has the MD5 of its bytes as well.
func (f *File) addOnItsWay(ctx context.Context) {
	f.mu.Lock()
	st := f.mu.going
	if st == nil && f.mu.uncertain {
		st = f.keptLocked()
	}
	if st == nil {
		f.mu.Unlock()
		return
	}
	snap := f.snapshotLocked(st)
	f.mu.Unlock()
	f.addState(ctx, snap)
}

// longestOwn bounds the files that are read for their MD5: a second of one CPU.
const longestOwn = 512 * mib

// addState notes what a state may be in the store, if its bytes are here.
func (f *File) addState(ctx context.Context, snap *snapshot) {
	if snap.layout.size > longestOwn || len(snap.layout.missing()) > 0 {
		return
	}
	f.addSum(ctx, snap)
}

// lostPatience bounds the reading of what was just sent: the cache has it.
const lostPatience = time.Second

// addLost notes what a state may be in the store after an upload without an answer, also if bytes of it are the base's, which
// the upload may have replaced.
func (f *File) addLost(ctx context.Context, snap *snapshot) {
	if !f.onePut(snap) || snap.layout.isWhole(snap.version.Size) {
		f.addState(context.WithoutCancel(ctx), snap)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lostPatience)
	defer cancel()
	f.addSum(ctx, snap)
}

func (f *File) addSum(ctx context.Context, snap *snapshot) {
	etag, err := f.etagOf(ctx, snap)
	if err != nil {
		f.files.o.Log.DebugContext(ctx, "what was sent of a file cannot be read again", "file", snap.id.String(), "err", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.sent.add(etag)
}

// under is what the file with an id, which is about to be replaced, has in the store, what it may have stored without
// knowing it, and its name in the journal; uncertain: it may have stored something indeed.
func (s *Files) under(id ID) (base *Base, sent own, lineage string, uncertain bool) {
	f, ok := s.Get(id)
	if !ok {
		return nil, own{}, "", false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.underLocked(), own{etags: slices.Clone(f.mu.sent.etags), any: f.mu.sent.any}, f.mu.lineage, f.mu.uncertain
}
