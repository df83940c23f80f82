package fs_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	pfs "pailfs/fs"
	"pailfs/fs/journal"
	"pailfs/fs/upload"
	"pailfs/fs/wired"
)

// life is one process: the rooms as fs/wired wires them, over a copy of the journal that the one before has left.
type life struct {
	w    *world
	dir  string
	plan kill
	// behind is journal durability.
	behind bool

	killMe chan struct{}
	killed chan struct{}
	late   sync.WaitGroup // requests whose callers have gone
	closed sync.WaitGroup // descriptions whose end the kernel has not told yet

	// guarded by world.mu
	dead            bool
	events, appends int
	movers, moving  int // renames of directories that are going on, and events meanwhile
	calls           []*call
	halfway         map[string]bool // own directories whose rename has failed: nobody looks closely until the next process
	left            string          // its journal at the kill

	opened  chan struct{} // closed when start has ended
	worked  chan struct{} // closed when the writers have ended; nil: there are none
	wire    *wire
	journal *journal.Journal // nil: it is not open
	rooms   *wired.Rooms
	raw     fuse.RawFileSystem
	tasks   sync.WaitGroup
	cancel  context.CancelFunc
	kernel  *kernel
}

func (w *world) live(dir string) *life {
	l := &life{w: w, dir: dir, behind: w.h.Behind != (w.h.Others>>w.lives&1 == 1), opened: make(chan struct{}), killMe: make(chan struct{}, 1), killed: make(chan struct{})}
	l.wire = &wire{Store: w.mem, w: w, l: l}
	return l
}

func (l *life) open() error {
	w := l.w
	log := slog.New(traceLog{w})
	j, err := journal.OpenWith(journal.Options{Dir: l.dir, MemoryBytes: w.h.Memory, Log: log, Hooks: journal.Hooks{
		Sync:      func(*os.File) error { w.seam(l, "fdatasync"); return nil },
		SyncSpool: func(f *os.File) error { w.seam(l, "fdatasync of a spool"); return nil },
		Append:    l.appending, SegmentBytes: segmentSize, InlineBytes: w.h.Inline}})
	if err != nil {
		return err
	}
	l.journal = j
	limits := upload.LimitsOf(w.mem.Profile(), firstPart)
	limits.SinglePut = largestPut
	l.rooms = wired.Open(background, wired.Options{
		Store: l.wire, Journal: j, Log: log, Bucket: "b", StoreID: "store", Host: "host",
		Behind: l.behind, Full: true, FileMode: 0o644, DirMode: 0o755, TTL: w.h.TTL, MaxLag: w.h.MaxLag, Settle: w.h.Settle, Limits: limits,
		Memory: wired.Memory{Blocks: 4 << 20, Ahead: 1 << 20},
		Seam:   func(what, key string) { w.seam(l, what+" "+key) },
	})
	ctx, cancel := context.WithCancel(background)
	l.cancel = cancel
	err = l.mount(ctx)
	for err != nil && w.h.Faults && !l.isDead() {
		time.Sleep(time.Second)
		err = l.mount(ctx)
	}
	if err != nil {
		return err
	}
	l.kernel = newKernel(l)
	l.rooms.Start(background)
	l.tasks.Go(func() {
		n, failed := l.rooms.Recover(ctx)
		w.note("recovered %d, failed %v", n, failed)
	})
	return nil
}

// mount lets the model in as the kernel.
func (l *life) mount(ctx context.Context) error {
	return l.rooms.Mount(ctx, pfs.Options{Timeout: time.Minute}, func(ctx context.Context, o pfs.Options) (server *pfs.Server, err error) {
		server, l.raw, err = pfs.ByHand(ctx, o)
		return server, err
	})
}

// work lets the writers work until they have nothing to do or the process is to be killed.
func (l *life) work() {
	w := l.w
	done := make(chan struct{})
	l.worked = done
	w.ended.Go(func() {
		defer close(done)
		if !l.start() {
			return
		}
		var writers sync.WaitGroup
		for id := range w.h.Writers {
			writers.Go(func() { (&writer{w, l, l.kernel, id}).run() })
		}
		if w.h.Look {
			writers.Go(l.look)
		}
		writers.Wait()
	})
	var at <-chan time.Time
	if l.plan.After > 0 {
		t := time.NewTimer(l.plan.After)
		defer t.Stop()
		at = t.C
	}
	select {
	case <-l.killMe:
		return
	case <-at:
		return
	case <-done:
	}
	if l.plan == (kill{}) {
		return
	}
	t := time.NewTimer(20 * time.Second) // what goes on in the background
	defer t.Stop()
	select {
	case <-l.killMe:
	case <-at:
	case <-t.C:
	}
}

// start opens the rooms and finds the directories; false: it was killed meanwhile.
func (l *life) start() bool {
	defer close(l.opened)
	if err := l.open(); err != nil {
		if !l.isDead() {
			l.w.find("start: %v", err)
		}
		return false
	}
	for !l.isDead() {
		errno := l.kernel.enter()
		if errno == 0 {
			return true
		}
		if !l.w.h.Faults && !l.isDead() {
			l.w.find("lookup of the directories: %v", errno)
			return false
		}
		time.Sleep(time.Second)
	}
	return false
}

// look reads all names once, as programs of another user would.
func (l *life) look() {
	for _, name := range l.w.names() {
		(&writer{l.w, l, l.kernel, -1}).see(name)
		if l.isDead() {
			return
		}
	}
}

// close ends a process as umount does; what it could not store is an error.
func (l *life) close(ctx context.Context) error {
	l.cancel()
	l.closed.Wait()
	errs := []error{l.rooms.Files.Close(ctx)}
	l.tasks.Wait()
	if l.worked != nil {
		<-l.worked // the kernel makes no request any more
	}
	if l.rooms.Server != nil {
		l.rooms.Server.Gone()
	}
	errs = append(errs, l.rooms.Close(ctx), l.journal.Close())
	l.late.Wait()
	l.journal = nil
	return errors.Join(errs...)
}

// stop lets a dead process's goroutines end.
func (l *life) stop() {
	<-l.opened
	if l.journal == nil {
		return
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	l.close(ctx) // it is dead: nothing that it says counts
}

func (l *life) isDead() bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.dead
}

// alive does something beside a process that is alive.
func (l *life) alive(beside *sync.WaitGroup, do func()) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !l.dead {
		beside.Go(do)
	}
}

func (l *life) begins(c *call) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !l.dead {
		l.calls = append(l.calls, c)
	}
	return !l.dead
}

func (l *life) ends(c *call) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.calls = slices.DeleteFunc(l.calls, func(o *call) bool { return o == c })
}

func (l *life) execute(c *call) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if i := slices.Index(l.calls, c); i >= 0 && !l.dead {
		l.calls = slices.Delete(l.calls, i, i+1)
		c.carryOut()
	}
}

// appending is called before each entry of the journal.
func (l *life) appending() {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.dead {
		return
	}
	l.appends++
	if l.plan.Entry == l.appends {
		w.killLocked(l, "before an entry")
		l.killMe <- struct{}{}
	}
}
