package fs

import (
	"context"
	"path"
	"sync"
	"syscall"
	"time"

	"pailfs/cache"
	"pailfs/fs/ahead"
	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

// Attributes answers tree's question for a file's attributes by a GET of its first bytes where the file is likely to be
// opened next: the answer carries them, and whoever reads tells tree (tree.Learn). The empty Object says so; else, and
// where the GET fails, tree asks for the attributes alone. files is called at each question: content is built after tree.
func Attributes(dirs *ahead.Dirs, files func() *content.Files, head func(context.Context, tree.Entry) (s3client.Object, error),
) func(context.Context, tree.Entry) (s3client.Object, error) {
	return func(ctx context.Context, e tree.Entry) (s3client.Object, error) {
		dir, name := path.Split(e.Path)
		if n := dirs.Looked(dir, itemOf(name, e)); n > 0 {
			if err := files().Peek(ctx, versionOf(e), n); err == nil {
				return s3client.Object{}, nil
			}
		}
		return head(ctx, e)
	}
}

func itemOf(name string, e tree.Entry) ahead.Item {
	return ahead.Item{Name: name, ETag: e.ETag, Size: e.Size, Known: e.Full}
}

// dirNames is what tree knows of one directory.
type dirNames struct {
	tree *tree.Tree
	dir  string // with a slash at its end; "" the top
}

func (d dirNames) Between(first, second string) (int, bool) {
	return d.tree.Between(d.dir+first, d.dir+second)
}

func (d dirNames) Following(name string, n int) []ahead.Item {
	var out []ahead.Item
	for _, e := range d.tree.Following(d.dir+name, n) {
		if e.Mode&syscall.S_IFMT == syscall.S_IFREG && !e.Pending && e.ETag != "" {
			out = append(out, itemOf(path.Base(e.Path), e))
		}
	}
	return out
}

// opened tells the readahead of small files that one was opened for reading, and carries out what it says.
func (f *face) opened(e tree.Entry) {
	dir, name := path.Split(e.Path)
	do := f.ahead.Opened(dir, name, dirNames{f.tree, dir})
	version := func(i ahead.Item) cache.Version {
		bucket, key, err := f.tree.Locate(dir + i.Name)
		if err != nil {
			return cache.Version{} // it has no bytes
		}
		return cache.Version{Bucket: bucket, Key: key, ETag: i.ETag, Size: i.Size}
	}
	for _, i := range do.Drop {
		f.files.NotAhead(version(i))
	}
	for n, i := range do.Files {
		f.files.Ahead(version(i), do.Bytes[n])
	}
	f.ask(dir, do.Ask)
}

// expect asks for the attributes of the files behind one whose own are about to be asked for, where they are likely to be
// wanted.
func (f *face) expect(p string) {
	if f.basic() {
		return
	}
	dir, name := path.Split(p)
	f.ask(dir, f.ahead.Expect(dir, name, dirNames{f.tree, dir}))
}

// passed tells the readahead of attributes that a file was looked at whose own are known.
func (f *face) passed(p string) {
	if f.basic() {
		return
	}
	dir, name := path.Split(p)
	f.ask(dir, f.ahead.Passed(dir, name, dirNames{f.tree, dir}))
}

// looked tells the readahead of attributes that a file's were asked for, and asks for those that it wants.
func (f *face) looked(p string) {
	e, state := f.tree.Known(p)
	if f.basic() || state != tree.Found || e.Mode&syscall.S_IFMT != syscall.S_IFREG || e.Pending {
		return
	}
	dir, name := path.Split(e.Path)
	f.ask(dir, f.ahead.Looks(dir, name, dirNames{f.tree, dir}))
}

// ask asks for attributes that nobody waits for yet.
func (f *face) ask(dir string, items []ahead.Item) {
	if f.asks.head == nil {
		return
	}
	for _, i := range items {
		if bucket, key, err := f.tree.Locate(dir + i.Name); err == nil {
			f.asks.start(dir+i.Name, func(ctx context.Context) {
				// An answer of any other kind is none: who looks the name up asks again, and gets the error.
				if o, err := f.asks.head(ctx, bucket, key); err == nil {
					f.tree.Learn(bucket, key, o)
				}
			})
		}
	}
}

// asksAhead are requests for attributes that are under way before somebody looks.
type asksAhead struct {
	head func(ctx context.Context, bucket, key string) (s3client.Object, error) // nil: none are made
	room chan struct{}

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      struct {
		sync.Mutex
		byPath map[string]chan struct{} // closed when the answer is there
	}
}

// asksAtOnce leaves half of the client's requests to who waits for one.
const asksAtOnce = 32

func newAsksAhead(head func(ctx context.Context, bucket, key string) (s3client.Object, error)) *asksAhead {
	a := &asksAhead{head: head, room: make(chan struct{}, asksAtOnce)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.mu.byPath = make(map[string]chan struct{})
	return a
}

// start runs do, unless the same path is asked for already.
func (a *asksAhead) start(p string, do func(context.Context)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.byPath[p] != nil || a.ctx.Err() != nil {
		return
	}
	done := make(chan struct{})
	a.mu.byPath[p] = done
	a.running.Go(func() { // under the mutex, so that close waits for it
		select {
		case a.room <- struct{}{}:
			do(a.ctx)
			<-a.room
		case <-a.ctx.Done():
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.mu.byPath, p)
		close(done)
	})
}

// askPatience is how long a lookup waits for an answer that was asked for ahead. Then it asks by itself.
const askPatience = 3 * time.Second

// wait returns when nothing is under way for a path, or it takes too long, or ctx ends.
func (a *asksAhead) wait(ctx context.Context, p string) {
	a.mu.Lock()
	done := a.mu.byPath[p]
	a.mu.Unlock()
	if done == nil {
		return
	}
	late := time.NewTimer(askPatience)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	case <-ctx.Done():
	}
}

// run runs do beside everything; close waits for it. False, and nothing is done, after close.
func (a *asksAhead) run(do func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() != nil {
		return false
	}
	a.running.Go(do)
	return true
}

// close cancels what is under way and waits for its end.
func (a *asksAhead) close() {
	a.mu.Lock()
	a.cancel()
	a.mu.Unlock()
	a.running.Wait()
}
