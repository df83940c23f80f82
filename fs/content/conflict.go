package content

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"pailfs/cache"
	"pailfs/s3client"
)

// ErrConflict: somebody else has stored another version since the file was opened. Both are kept; the error's text says
// where the local one is.
var ErrConflict = fmt.Errorf("changed in the store by somebody else: %w", s3client.Changed)

// errAgain: what the file stands on has changed in a way that is dealt with; the commit starts again.
var errAgain = errors.New("commit again")

// errVanished: the store has nothing under the file's id, and had something at open.
var errVanished = errors.New("the base has vanished")

// changedError carries what the store has instead of the base.
type changedError struct{ remote s3client.Object }

func (e *changedError) Error() string { return "base has changed, the store has ETag " + e.remote.ETag }

// lookAtBase asks the store whether it still has under the file's id what it had at open, unless it was seen to have it
// lately. Nil means yes, or that there was nothing: a new file replaces what came to its name meanwhile, as creat(2) does.
// A *changedError means another version, errVanished none at all.
func (f *File) lookAtBase(ctx context.Context, always bool) error {
	f.mu.Lock()
	id, base, superseded, recovered, foreign := f.mu.id, f.mu.base, f.mu.superseded, f.mu.recovered, f.mu.foreign
	if foreign {
		base = f.mu.own
	}
	f.mu.Unlock()
	if base == nil && (recovered || superseded) {
		return f.checkAbsent(ctx, id)
	}
	if base == nil {
		return nil
	}
	if !always && !superseded && f.files.o.Now().Sub(base.Seen) <= f.files.o.CheckAfter {
		return nil
	}
	if id != (ID{Bucket: base.Version.Bucket, Key: base.Version.Key}) {
		return nil // renamed during a commit: the base lies under the old name
	}
	obj, err := f.files.o.Store.Head(s3client.Patient(ctx), id.Bucket, id.Key)
	seen := &Base{Version: base.Version, Seen: f.files.o.Now()}
	switch {
	case errors.Is(err, s3client.NotFound) && foreign:
		seen = nil
	case errors.Is(err, s3client.NotFound):
		return errVanished
	case err != nil:
		return fmt.Errorf("check %s before storing it: %w", id, err)
	case obj.ETag != base.Version.ETag && f.takeOwn(obj):
		return nil
	case obj.ETag != base.Version.ETag:
		return &changedError{obj}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case foreign && f.mu.foreign && f.mu.own == base:
		f.mu.own = seen
	case f.mu.base == base:
		f.mu.base = seen
	}
	return nil
}

// checkAbsent makes sure that a new file of an earlier run does not replace what came to its name since.
func (f *File) checkAbsent(ctx context.Context, id ID) error {
	obj, err := f.files.o.Store.Head(s3client.Patient(ctx), id.Bucket, id.Key)
	switch {
	case errors.Is(err, s3client.NotFound):
		return nil
	case err != nil:
		return fmt.Errorf("check %s before storing it: %w", id, err)
	case f.takeOwn(obj):
		return nil
	}
	return &changedError{obj}
}

// explain finds out why an upload met an object that is not what it was: errAgain when the file can be stored anew, a
// *changedError for a conflict, errVanished, else cause itself.
func (f *File) explain(ctx context.Context, snap *snapshot, cause error) error {
	if snap.base == nil || snap.layout.base == 0 {
		return cause
	}
	look := f.lookAtBase
	if snap.foreign {
		look = func(ctx context.Context, _ bool) error { return f.lookAtSource(ctx, snap.version) }
	}
	if err := look(ctx, true); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.versionLocked() != snap.version {
		return errAgain
	}
	return cause
}

// settle deals with the reason that a commit cannot go on: a base that is gone is no conflict, the next round creates it
// again; a conflict ends with both versions stored and ErrConflict; everything else is the commit's error. The caller has
// the turn.
func (f *File) settle(ctx context.Context, s *sending, err error) error {
	var changed *changedError
	if !errors.As(err, &changed) {
		return f.adopt(ctx)
	}
	snap := f.snapshot(s)
	if f.yields(changed.remote) {
		f.replaced(snap.id, changed.remote)
		return nil
	}
	if f.isCopy(changed.remote) && !f.isPunched() {
		return f.overCopy(ctx, changed.remote)
	}
	if f.isSpoiled(changed.remote) && !f.isPunched() {
		return f.overSpoiled(ctx, changed.remote)
	}
	if f.givesUpAttributes(ctx, snap, changed.remote) {
		return nil
	}
	if f.isPunched() {
		if f.takeOwn(changed.remote) {
			return errAgain
		}
		return f.keepOther(ctx, changed.remote)
	}
	if ours, err := f.isOurs(ctx, s.stage, snap, changed.remote); err != nil || ours {
		return errors.Join(err, f.takeOver(s, snap, changed.remote, ours))
	}
	if f.addOnItsWay(ctx); f.takeOwn(changed.remote) { // a state that was kept before the present one
		return errAgain
	}
	if err := f.fetchAll(ctx); err != nil {
		if errors.Is(err, s3client.NotFound) || errors.Is(err, s3client.Changed) {
			return f.keepRest(ctx, errors.Join(ErrConflict, err))
		}
		return err
	}
	return f.keepBoth(ctx, s)
}

// adopt makes every byte of a file whose base has vanished the file's own. What is neither in the spool nor in memory is
// lost with the base: then the rest is kept beside it, and the error says so.
func (f *File) adopt(ctx context.Context) error {
	err := f.fetchAll(ctx)
	if errors.Is(err, s3client.NotFound) || errors.Is(err, s3client.Changed) {
		return f.keepRest(ctx, err)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.orphanedLocked()
	f.mu.base, f.mu.own, f.mu.foreign = f.mu.own, nil, false
	f.mu.Unlock()
	if err := f.keepAgain(); err != nil { // its record names a base that is no more
		return err
	}
	return errAgain
}

// isOurs says whether the store has the very bytes that are to be committed: an upload whose answer was lost, most
// likely. Only a plain object's ETag, the MD5 of its bytes, can tell. Where attributes are all that is to be stored, an
// object of that size that has them needs nothing from us, whoever made it.
func (f *File) isOurs(ctx context.Context, st *stage, snap *snapshot, remote s3client.Object) (bool, error) {
	if snap.onlyAttributes() && remote.Size == snap.layout.size && (f.hasHeaders(ctx, snap.id, remote) || st.wanted(remote)) {
		return true, nil
	}
	if remote.Size != snap.layout.size || len(remote.ETag) != 2*md5.Size || len(snap.layout.missing()) > 0 {
		return false, nil
	}
	etag, err := f.etagOf(ctx, snap)
	if err != nil {
		return false, fmt.Errorf("compare %s with the store: %w", snap.id, err)
	}
	return etag == remote.ETag, nil
}

// hasHeaders says whether an object has the attributes that the file is to have.
func (f *File) hasHeaders(ctx context.Context, id ID, o s3client.Object) bool {
	if o.Headers == nil {
		return false
	}
	h, err := f.headersFor(ctx, id, false)
	return err == nil && reflect.DeepEqual(h, *o.Headers)
}

// wanted says whether an object has the attributes that the state's record gives it: the file may have changed since.
func (st *stage) wanted(o s3client.Object) bool {
	return st.recorded && o.Headers != nil && len(o.Headers.Meta) > 0 && reflect.DeepEqual(s3client.Headers(st.record.Headers), *o.Headers)
}

// onlyAttributes says whether a state has no byte that its base does not have.
func (s *snapshot) onlyAttributes() bool {
	return s.base != nil && !s.foreign && s.layout.isWhole(s.version.Size)
}

// givesUpAttributes ends a commit of attributes alone, whose object somebody has replaced: its bytes, which the store had,
// are not here, and nobody has the file open. What the other one stored stays as it is.
func (f *File) givesUpAttributes(ctx context.Context, snap *snapshot, remote s3client.Object) bool {
	if !f.ofEarlierRunAlone() {
		return false
	}
	if !snap.onlyAttributes() || len(snap.layout.missing()) == 0 {
		return false
	}
	if h := f.recoveredHeaders(); h != nil && remote.Headers != nil && reflect.DeepEqual(*h, *remote.Headers) {
		return false // isOurs
	}
	f.giveUp(snap.id, remote)
	f.files.o.Log.WarnContext(ctx, "a change of attributes was given up: its object is another one now", "object", snap.id.String())
	return true
}

// giveUp makes a file that nobody has open what the store has.
func (f *File) giveUp(id ID, remote s3client.Object) {
	f.dropStream()
	f.recording <- struct{}{}
	f.mu.Lock()
	before := f.spoolsLocked()
	f.mu.chain, f.mu.going, f.mu.spool = nil, nil, nil
	f.mu.layout = layout{size: remote.Size, base: remote.Size}
	f.rebaseLocked(id, remote)
	f.mu.superseded, f.mu.recovered, f.mu.uncertain, f.mu.state = false, false, false, clean
	f.mu.Unlock()
	f.release(before)
	f.recording.give()
	f.files.o.Stored(id, remote)
	if f.files.o.Outdated != nil { // the attributes that were to be stored are not this version's
		f.files.o.Outdated(cache.Version{Bucket: id.Bucket, Key: id.Key, ETag: remote.ETag, Size: remote.Size})
	}
}

// takeOver makes a stored object with our bytes the base; the next round gives it our attributes.
func (f *File) takeOver(s *sending, snap *snapshot, remote s3client.Object, ours bool) error {
	if !ours {
		return nil
	}
	snap.touches-- // its attributes may be others
	s.snap = snap
	f.record(s, snap.id, remote)
	return errAgain
}

// keepBoth stores the local version beside the other one. The File follows it: what is still read and written through
// its handles belongs to it, and Sync goes on saying ErrConflict.
func (f *File) keepBoth(ctx context.Context, s *sending) error {
	f.stopStream(ctx)
	s.stream = nil
	f.mu.Lock()
	f.orphanedLocked()
	f.mu.Unlock()
	if err := f.keepAgain(); err != nil { // it stands on no version any more
		return err
	}
	snap := f.snapshot(s)
	to, now := f.files.conflictName(snap.id)
	done, err := f.files.o.Guard(ctx, to)
	if err != nil {
		return fmt.Errorf("%w; its own version is not stored yet: %w", ErrConflict, err)
	}
	obj, err := f.upload(ctx, snap, to)
	done(err == nil)
	if err != nil {
		return fmt.Errorf("%w; its own version is not stored yet: %w", ErrConflict, err)
	}
	conflict := fmt.Errorf("%s: %w; the local version is %s", snap.id, ErrConflict, to)
	f.mu.Lock()
	f.mu.conflict = conflict
	f.mu.Unlock()
	f.files.rekey(f, to)
	f.files.o.Uploader.Forget(snap.id.Bucket, snap.id.Key)
	s.snap = snap
	f.record(s, to, obj)
	f.files.addConflict(Conflict{ID: snap.id, Kept: to, Time: now})
	f.files.o.Log.WarnContext(ctx, "conflict: both versions are kept", "object", snap.id.String(), "local", to.String())
	f.files.o.Stored(to, obj)
	return nil // commitTurn answers f.mu.conflict
}

// conflictName is where one of two versions of an object is kept. Of two conflicts of one name at one moment none replaces the
// other: not of this mount's, by the time, and not of another one's on the same host, by chance.
func (s *Files) conflictName(id ID) (ID, time.Time) {
	now := s.conflictTime()
	return conflictID(id, s.o.Host, now, strings.ToLower(rand.Text()[:conflictChance])), now
}

// conflictChance is how many letters of 5 bits each make two names of one millisecond differ.
const conflictChance = 6

// conflictTime is a millisecond that no other conflict of this run has in its name.
func (s *Files) conflictTime() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now().Truncate(time.Millisecond)
	if !now.After(s.mu.conflictAt) {
		now = s.mu.conflictAt.Add(time.Millisecond)
	}
	s.mu.conflictAt = now
	return now
}

// conflictID names the local version: NAME.conflict-HOST-TIME-CHANCE beside it, NAME cut so that all is a file name.
func conflictID(id ID, host string, at time.Time, chance string) ID {
	suffix := ".conflict-" + strings.ReplaceAll(host, "/", "_") + "-" + at.UTC().Format("20060102T150405.000Z") + "-" + chance
	dir, name := "", id.Key
	if i := strings.LastIndexByte(id.Key, '/'); i >= 0 {
		dir, name = id.Key[:i+1], id.Key[i+1:]
	}
	const maxName = 255 // bytes, NAME_MAX
	if room := max(0, maxName-len(suffix)); len(name) > room {
		name = strings.ToValidUTF8(name[:room], "")
	}
	return ID{Bucket: id.Bucket, Key: dir + name + suffix}
}
