package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
	"pailfs/tests/lagproxy"
)

// How far a fault reaches.
const (
	once    = "once" // the request number skip
	few     = "few"  // two on end
	lasting = "lasting"
)

// cell is one operation under one fault.
type cell struct {
	w     *worker
	op    *op
	fault fault
	reach string
	skip  int // requests that it spares

	rel    string // the directory, BUCKET/CELL
	dir    string // the same on the mount
	prefix string // of its keys
	taken  bool   // every write(2) has been taken
	before ledger
	result
}

// result is what came of a cell.
type result struct {
	struck   int
	outcome  string
	took     time.Duration // of the operation
	felt     map[string]int
	problems []string
}

func (c *cell) String() string {
	s := fmt.Sprintf("%s/%s/%s/%s", c.w.durability, c.op.name, c.fault.name, c.reach)
	if c.reach == once {
		s += "@" + itoa(c.skip)
	}
	return s
}

func (c *cell) path(name string) string { return filepath.Join(c.dir, name) }

func (c *cell) bucketName() string { return c.w.bucket + "-" + itoa(c.w.cells) }

func (c *cell) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// cell runs one. An error is the rig's own failure.
func (w *worker) cell(o *op, f fault, reach string, skip int) (*cell, error) {
	w.cells++
	c := &cell{w: w, op: o, fault: f, reach: reach, skip: skip}
	c.prefix = fmt.Sprintf("c%d/", w.cells)
	c.rel = w.bucket + "/" + strings.TrimSuffix(c.prefix, "/")
	c.dir = w.m.Path(c.rel)
	defer c.clean()
	if err := c.prepare(); err != nil {
		return nil, fmt.Errorf("%v: preparing: %w", c, err)
	}
	if !c.underFault() {
		return c, nil // it hung: there is nothing more to learn
	}
	return c, c.afterwards()
}

// prepare makes the directory past the mount and has the mount know it, as a program has that stands in it.
func (c *cell) prepare() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for key, o := range c.op.fixture() {
		err := c.w.put(ctx, c.prefix+key, o)
		if err != nil {
			return err
		}
	}
	if c.op.name == "rmdir bucket" {
		if err := c.w.s.Client.CreateBucket(ctx, c.bucketName()); err != nil {
			return err
		}
		if not := eventually(5*time.Second, func() string { return errorText(stat(c.w.m.Path(c.bucketName()))) }); not != "" {
			return errors.New(not)
		}
	}
	// What was made elsewhere is seen when the listing that a walk has left is too old.
	if not := eventually(5*time.Second, func() string { return errorText(stat(c.dir)) }); not != "" {
		return errors.New(not)
	}
	if c.fault.late() {
		if err := c.lookAround(); err != nil {
			return err
		}
	}
	if not := eventually(10*time.Second, c.w.busy); not != "" {
		return errors.New(not)
	}
	c.w.p.Strokes()
	var err error
	c.before, err = c.w.ledger()
	return err
}

// lookAround has the mount ask for all listings that the operation and the look at its result need, so that they can come
// again when they are not true any more.
func (c *cell) lookAround() error {
	if _, err := view(c.dir); err != nil {
		return err
	}
	for _, name := range []string{"new", "moved", "other"} {
		if err := stat(c.path(name)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is there before it is made: %v", name, err)
		}
	}
	time.Sleep(ttl + 100*time.Millisecond) // what is remembered must be asked for again
	return nil
}

// ttl is the mounts' --metadata-ttl.
const ttl = time.Second

func (w *worker) busy() string {
	if n := w.p.InFlight(); n > 0 {
		return fmt.Sprintf("%d requests are going on", n)
	}
	return ""
}

func (w *worker) put(ctx context.Context, key string, o object) error {
	_, err := w.s.Client.Put(ctx, s3client.PutRequest{Bucket: w.bucket, Key: key, Headers: s3client.Headers{Meta: o.meta},
		Body: strings.NewReader(o.content), Size: int64(len(o.content))})
	return err
}

func stat(path string) error {
	_, err := os.Lstat(path)
	return err
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// underFault does the operation while the fault lasts; false: it hung.
func (c *cell) underFault() bool {
	c.strike()
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- c.op.run(c) }()
	// Each call that waits has the time-out, and a second for the request that is going on when it is over.
	limit := time.Duration(c.op.waits)*(timeout+time.Second) + 10*time.Second
	select {
	case err := <-done:
		c.took, c.outcome = time.Since(began), outcomeOf(err)
		if c.outcome == "wrong" && c.fault.class != "bit" || c.outcome == unforeseen {
			c.problem("the operation: %v", err)
		}
	case <-time.After(limit):
		c.hang(limit)
		return false
	}
	if c.reach != lasting {
		c.problemOf("flush under the fault", c.flushed())
	} else if c.w.durability == "journal" && !c.fault.away {
		// The background begins after a moment; an operation without any request is none that the fault concerns.
		eventually(700*time.Millisecond, func() string {
			if c.w.p.Struck() > 0 {
				return ""
			}
			return "not struck"
		})
	}
	if c.fault.late() && c.outcome == "ok" {
		c.problemOf("under late listings the mount", c.shows(c.wanted(), 0))
		time.Sleep(ttl + 100*time.Millisecond)
		c.problemOf("under late listings, later, the mount", c.shows(c.wanted(), 0))
	}
	return true
}

func (c *cell) problemOf(what, text string) {
	if text != "" {
		c.problem("%s: %s", what, text)
	}
}

func (c *cell) strike() {
	switch {
	case c.fault.away:
		if err := c.w.p.Leave(); err != nil {
			c.problem("the proxy: %v", err)
		}
		if c.reach != lasting {
			time.AfterFunc(300*time.Millisecond, func() { c.w.p.Return() }) // heal returns for good
		}
	default:
		times := map[string]int{once: 1, few: 2}[c.reach]
		for _, f := range c.fault.of(c.skip, times) {
			c.w.p.Strike(f)
		}
	}
}

// hang ends a mount that does not answer, with its goroutines in its log.
func (c *cell) hang(limit time.Duration) {
	c.outcome = "hang"
	c.problem("it hangs: nothing after %v", limit)
	c.w.dead = true
	c.w.m.Signal(syscall.SIGQUIT)
	for range 50 {
		if c.w.m.Exited() {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	name := filepath.Join(os.TempDir(), fmt.Sprintf("pailfs-hang-%d.log", os.Getpid()))
	if err := os.WriteFile(name, []byte(c.w.m.Log()), 0o600); err == nil {
		c.problem("its goroutines are in %s", name)
	}
	c.w.m.Die()
}

// flushed stores what is pending; the text says what could not be.
func (c *cell) flushed() string {
	path := c.rel
	if c.op.bucket {
		path = ""
	}
	return eventually(45*time.Second, func() string { return errorText(c.w.flush(path)) })
}

// afterwards heals, and looks at everything.
func (c *cell) afterwards() error {
	w := c.w
	w.p.Heal()
	if err := w.p.Return(); err != nil {
		return err
	}
	if c.reach == lasting {
		c.problemOf("flush after the fault", c.flushed())
	}
	l, not := w.settled(c.before, c.fault)
	strokes := w.p.Strokes()
	if not != "" {
		c.problem("the numbers: %s\n    by the proxy %v\n    by the mount %v\n    harms %v", not, l.proxy, l.mount.requests, strokes)
	}
	c.struck = len(strokes)
	// Bytes that are not the store's are nobody's to find over http: what the mount has of them, and stores where it puts a
	// part together anew, is as wrong as they are.
	// So is the target of a link, whose upload is not checked.
	if !slices.ContainsFunc(strokes, func(s lagproxy.Stroke) bool {
		return s.Harm == lagproxy.Flip && s.Kind == lagproxy.Get || s.Harm == lagproxy.FlipUp && c.op.name == "symlink"
	}) {
		c.stored()
	}
	if c.fault.away {
		for e, n := range l.mount.requests {
			if e.status == "none" {
				c.struck += int(n)
			}
		}
	}
	c.felt = explain(strokes, l)
	if err := c.abortUnknown(strokes); err != nil {
		return err
	}
	if n := c.felt[notFelt]; n > 0 {
		c.problem("%d faults are not in the mount's numbers: %v; %v", n, strokes, l.mount)
	}
	return c.usable()
}

// abortUnknown aborts what nobody can know of: the upload that a store has begun twice, and the one whose id came wrong.
// (`pailfs uploads` lists such.)
func (c *cell) abortUnknown(strokes []lagproxy.Stroke) error {
	if !slices.ContainsFunc(strokes, func(s lagproxy.Stroke) bool {
		return s.Kind == lagproxy.CreateUpload && (s.Harm == lagproxy.Twice || s.Harm == lagproxy.Flip)
	}) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ups, err := c.w.s.Client.Uploads(ctx, c.w.bucket, c.prefix)
	for _, u := range ups {
		err = errors.Join(err, c.w.s.Client.AbortUpload(ctx, c.w.bucket, u.Key, u.ID))
	}
	return err
}

// wanted is what the store must have when the operation has succeeded.
func (c *cell) wanted() state {
	s := c.op.fixture()
	if c.op.after != nil && !c.op.bucket {
		c.op.after(s)
	}
	return s
}

// allowed are the states that the store may be in.
func (c *cell) allowed() []state {
	all := []state{c.wanted()}
	if c.outcome == "ok" && !c.lied() || c.op.keeps && c.taken {
		return all
	}
	before := c.op.fixture()
	all = append(all, before)
	if c.op.also != nil {
		s := c.op.fixture()
		c.op.also(s)
		all = append(all, s)
	}
	return all
}

// lied: a store that says that a key is not there is taken at its word by who wants to delete it, and one that says that it is
// another version by what changes names in the background.
func (c *cell) lied() bool {
	if c.fault.class == "404" || c.fault.class == "412" && c.w.durability == "journal" {
		return true
	}
	return slices.ContainsFunc(c.fault.many, func(f lagproxy.Fault) bool { return f.Status == 404 || f.Status == 412 })
}

// stored sees that the store has what it should, and the mount shows it.
func (c *cell) stored() {
	var now state
	not := eventually(10*time.Second, func() string {
		var err error
		if now, err = c.w.inStore(c.w.bucket, c.prefix); err != nil {
			return err.Error()
		}
		for _, s := range c.allowed() {
			if s.is(now) || c.keptBeside(s, now) || c.halfWay(now) {
				return ""
			}
		}
		return fmt.Sprintf("it was %s, and the store has %v, not %v", c.outcome, now, c.allowed())
	})
	c.problemOf("the store", not)
	if c.op.bucket {
		c.bucketStored()
	}
	// Who was told that a name is gone shows none, as long as that counts.
	if not == "" && !c.lied() {
		c.problemOf("the mount", c.shows(now, 8*time.Second))
	}
}

// halfWay: of a directory's rename that has failed each file has the old name, the new one, or both.
func (c *cell) halfWay(now state) bool {
	if c.op.name != "rename directory" || c.outcome == "ok" && !c.lied() {
		return false
	}
	all := c.op.fixture()
	halfMoved(all)
	for key, o := range now {
		if want, there := all[key]; !there || want.content != o.content {
			return false
		}
	}
	for _, name := range []string{"a", "b"} {
		_, old := now["sub/"+name]
		_, moved := now["other/"+name]
		if !old && !moved {
			return false
		}
	}
	return true
}

// keptBeside: a store that says that the version under somebody's changes is gone has them kept as a conflict.
func (c *cell) keptBeside(want, now state) bool {
	switch c.fault.class {
	case "404", "412", "416", "bit", random:
	default:
		return false
	}
	plain := maps.Clone(now)
	kept := 0
	for key, o := range now {
		if base, _, found := strings.Cut(key, ".conflict-"); found {
			delete(plain, key)
			if o.content != want[base].content {
				return false
			}
			kept++
		}
	}
	return kept > 0 && c.op.fixture().is(plain)
}

func (c *cell) bucketStored() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := c.w.s.Client.HeadBucket(ctx, c.bucketName())
	if err != nil && !errors.Is(err, s3client.NotFound) {
		c.problem("the store: %v", err)
	}
	if there := err == nil; c.outcome == "ok" && there != (c.op.name == "mkdir bucket") {
		c.problem("it was ok, and the bucket is there: %v", there)
	}
}

// shows says how the mount's view differs from a state, when it still does after a while.
func (c *cell) shows(s state, limit time.Duration) string {
	return eventually(limit, func() string {
		got, err := view(c.dir)
		if err != nil {
			return err.Error()
		}
		return differ(got, s.shown())
	})
}

// usable writes and reads as if nothing had been.
func (c *cell) usable() error {
	name, text := c.path("afterwards"), fmt.Sprintf("after %v", c)
	// For a second after a request without an answer a name that was not there is in doubt, and not asked for.
	if not := eventually(3*time.Second, func() string { return errorText(os.WriteFile(name, []byte(text), 0o644)) }); not != "" {
		c.problem("the mount cannot be used afterwards: %s", not)
		return nil
	}
	c.problemOf("afterwards", c.flushed())
	now, err := c.w.inStore(c.w.bucket, c.prefix+"afterwards")
	if err != nil {
		return err
	}
	if got := now[""].content; got != text {
		c.problem("afterwards the store has %q", got)
	}
	return nil
}

// clean removes the cell's objects past the mount.
func (c *cell) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	page, err := c.w.s.Client.List(ctx, s3client.ListRequest{Bucket: c.w.bucket, Prefix: c.prefix})
	if err == nil {
		var keys []string
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		_, err = c.w.s.Client.DeleteMany(ctx, c.w.bucket, keys)
	}
	if c.op.bucket {
		if berr := c.w.s.Client.DeleteBucket(ctx, c.bucketName()); !errors.Is(berr, s3client.NotFound) {
			err = errors.Join(err, berr)
		}
	}
	if err != nil {
		c.problem("cleaning up: %v", err)
	}
}

const unforeseen = "unforeseen"

// outcomeOf is a result's name in EXPECTED.md.
func outcomeOf(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errWrong):
		return "wrong"
	case errors.Is(err, errLeft):
		return "left"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return unforeseen
}

// unfinished says which uploads the store has left, "" for none.
func (w *worker) unfinished(limit time.Duration) string {
	return eventually(limit, func() string {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		ups, err := w.s.Client.Uploads(ctx, w.bucket, "")
		if err != nil {
			return err.Error()
		}
		var keys []string
		for _, u := range ups {
			keys = append(keys, u.Key)
		}
		slices.Sort(keys)
		if len(keys) > 0 {
			return fmt.Sprintf("%d unfinished uploads are left: %q", len(keys), keys)
		}
		return ""
	})
}

// end unmounts, and mounts once more: what the first could not know of, the second must find.
func (w *worker) end(limit time.Duration) string {
	if w.dead {
		return ""
	}
	w.m.Unmount()
	w.mount()
	not := w.unfinished(limit)
	w.m.Unmount()
	return not
}
