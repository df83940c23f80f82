package faults

import (
	"context"
	"errors"
	"fmt"
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
	if !slices.ContainsFunc(strokes, func(s lagproxy.Stroke) bool {
		return s.Harm == lagproxy.Flip && s.Kind == lagproxy.Get
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
