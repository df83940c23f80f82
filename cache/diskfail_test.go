package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unique"

	"golang.org/x/sys/unix"
)

// A flipped byte anywhere in the data: the reader never sees it, and only that block is fetched.
func TestFlippedData(t *testing.T) {
	const size = 40*testBlock + 9
	for _, at := range []int64{0, 5*testBlock + 3, 17 * testBlock, 40*testBlock + 8} {
		dir := t.TempDir()
		d := openTest(t, dir)
		s := &store{}
		b := over(t, d, 2000, s)
		v := object("o", size)
		read(t, b, v, 0, size)
		d.drain(t)
		b.forget()
		s.fetched()
		flip(t, files(t, dir)[0], at)
		read(t, b, v, 0, size)
		i := at / testBlock
		wantFetched(t, s, fmt.Sprintf("%d+%d", i*testBlock, min(testBlock, size-i*testBlock)))
		d.drain(t) // it is mended
		b.forget()
		read(t, b, v, 0, size)
		wantFetched(t, s, "")
		if st := d.Stats(); st.Corrupt != 1 || st.Files != 1 {
			t.Errorf("%+v", st)
		}
	}
}

func TestQueueThatIsFullIsSkipped(t *testing.T) {
	d := openTest(t, t.TempDir(), func(o *DiskOptions) { o.QueueBytes = 8 * testBlock })
	d.room.TryAcquire(3 * testBlock) // five blocks of room, and no writer that frees any
	gate := make(chan struct{})
	d.pwritev = func(fd int, iovs [][]byte, off int64) (int, error) { <-gate; return unix.Pwritev(fd, iovs, off) }
	b := over(t, d, 2000, &store{})
	v := object("o", 20*testBlock)
	read(t, b, v, 0, int(v.Size))
	if st := d.Stats(); st.Skipped != 15 || st.QueuedBytes != 5*testBlock {
		t.Errorf("%+v", st)
	}
	close(gate)
	d.drain(t)
	if st := d.Stats(); d.Missing(v) != 15*testBlock || st.QueuedBytes != 0 || st.WrittenBytes != 5*testBlock {
		t.Errorf("missing %d, %+v", d.Missing(v), st)
	}
}

// The queue counts as held memory, and a stuck disk keeps no reader waiting.
func TestMemoryBoundWithAStuckDisk(t *testing.T) {
	d := openTest(t, t.TempDir())
	gate := make(chan struct{})
	d.pwritev = func(fd int, iovs [][]byte, off int64) (int, error) { <-gate; return unix.Pwritev(fd, iovs, off) }
	open := sync.OnceFunc(func() { close(gate) })
	s := &store{}
	b := over(t, d, 64, s)
	t.Cleanup(open)
	v := object("o", 200*testBlock)
	for off := int64(0); off < v.Size; off += 4 * testBlock {
		b.Prefetch(v, off, 8*testBlock)
		read(t, b, v, off, 4*testBlock)
		b.check(t)
		if st := b.Stats(); st.Bytes+st.InFlightBytes+st.HeldBytes > b.o.MemoryBytes {
			t.Fatalf("%+v, limit %d", st, b.o.MemoryBytes)
		}
	}
	if n := d.Stats().QueuedBytes; n == 0 || n > 16*testBlock {
		t.Errorf("%d bytes queued", n)
	}
	open()
	d.drain(t)
	if b.Stats().HeldBytes != 0 {
		t.Errorf("%+v", b.Stats())
	}
}

// A disk that fails costs requests, never an error.
func TestReadErrorsAreFetched(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		files int64 // left
	}{{"broken", unix.EIO, 0}, {"cut", io.EOF, 0}, {"no memory", unix.ENOMEM, 1}} {
		t.Run(c.name, func(t *testing.T) {
			d := openTest(t, t.TempDir())
			s := &store{}
			b := over(t, d, 200, s)
			v := object("o", 10*testBlock)
			read(t, b, v, 0, int(v.Size))
			d.drain(t)
			b.forget()
			s.fetched()
			d.preadv = func(fd int, iovs [][]byte, off int64) (int, error) {
				if c.err == io.EOF {
					return 0, nil
				}
				return 0, c.err
			}
			d.queue.mu.Lock() // nothing is written anew while we look
			defer d.queue.mu.Unlock()
			done := make(chan struct{})
			go func() {
				defer close(done)
				if n := b.disk.take(v, unique.Make(v), 0, []*block{b.buffers.get(testBlock)}, 0); n != 0 {
					t.Error("read from a broken disk")
				}
			}()
			<-done
			d.mu.Lock()
			n := int64(d.mu.parts.Len())
			d.mu.Unlock()
			if n != c.files {
				t.Errorf("%d files left", n)
			}
		})
	}
	d := openTest(t, t.TempDir())
	s := &store{}
	b := over(t, d, 200, s)
	v := object("o", 10*testBlock)
	read(t, b, v, 0, int(v.Size))
	d.drain(t)
	b.forget()
	s.fetched()
	d.preadv = func(int, [][]byte, int64) (int, error) { return 0, unix.EIO }
	read(t, b, v, 0, int(v.Size))
	wantFetched(t, s, "0+10240")
}

// The directory, or a part of it, is deleted underneath: reads go to the store, and filling begins anew.
func TestDeletedDirectory(t *testing.T) {
	for _, what := range []string{"", ownDir, blocksDir, logName, lockName} {
		t.Run("dir/"+what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			d := openTest(t, dir)
			s := &store{}
			b := over(t, d, 200, s)
			v, w := object("o", 10*testBlock), object("w", 10*testBlock)
			read(t, b, v, 0, int(v.Size))
			d.drain(t)
			b.forget()
			s.fetched()
			if err := os.RemoveAll(filepath.Join(dir, what)); err != nil {
				t.Fatal(err)
			}
			read(t, b, v, 0, int(v.Size))
			if lost := what == "" || what == ownDir || what == blocksDir; lost {
				wantFetched(t, s, "0+10240")
			} else {
				wantFetched(t, s, "")
			}
			read(t, b, w, 0, int(w.Size))
			d.drain(t)
			b.forget()
			s.fetched()
			read(t, b, v, 0, int(v.Size))
			read(t, b, w, 0, int(w.Size))
			wantFetched(t, s, "")
			closeBlocks(t, b)
			closeDisk(t, d)
			d = openTest(t, dir)
			if d.Missing(w) != 0 {
				t.Error("not there at the next open")
			}
		})
	}
}

// A full disk: nothing is written for a while, one line in the log, and then it goes on.
func TestFullDiskPauses(t *testing.T) {
	for _, refusal := range []error{unix.ENOSPC, unix.EDQUOT, unix.EIO} {
		synctest.Test(t, func(t *testing.T) {
			var out lines
			d := openTest(t, t.TempDir(), func(o *DiskOptions) { o.Log = out.logger() })
			s := &store{}
			b := over(t, d, 2000, s)
			read(t, b, object("before", 5*testBlock), 0, 5*testBlock)
			d.drain(t)
			full := true
			d.pwritev = func(fd int, iovs [][]byte, off int64) (int, error) {
				if full {
					return 0, refusal
				}
				return unix.Pwritev(fd, iovs, off)
			}
			v := object("o", 20*testBlock)
			for i := range int64(5) {
				read(t, b, v, i*testBlock, testBlock)
				synctest.Wait()
			}
			if st := d.Stats(); st.Skipped != 5 || !strings.Contains(st.Paused, refusal.Error()) {
				t.Errorf("%+v", st)
			}
			if err := b.Store(background, v, 0, v.Size); err == nil || !strings.Contains(err.Error(), refusal.Error()) {
				t.Errorf("Store: %v", err)
			}
			full = false
			time.Sleep(pauseFor)
			read(t, b, v, 5*testBlock, testBlock)
			synctest.Wait()
			if st := d.Stats(); st.Paused != "" || d.Missing(v) != 19*testBlock {
				t.Errorf("%+v", st)
			}
			if got := out.all(); len(got) != 2 || !strings.Contains(got[0], "not filled") || !strings.Contains(got[1], "filled again") {
				t.Errorf("logged %q", got)
			}
		})
	}
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir)
	b := over(t, d, 2000, &store{})
	v := object("o", 200*testBlock)
	read(t, b, v, 0, int(v.Size))
	if err := b.Close(background); err != nil {
		t.Fatal(err)
	}
	closeDisk(t, d)
	if b.Stats().HeldBytes != 0 {
		t.Errorf("%+v", b.Stats())
	}
	d = openTest(t, dir)
	if d.Missing(v) != 0 {
		t.Errorf("%d missing", d.Missing(v))
	}
}

func TestDiskCloseGivesUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openTest(t, t.TempDir())
		gate := make(chan struct{})
		d.pwritev = func(fd int, iovs [][]byte, off int64) (int, error) { <-gate; return unix.Pwritev(fd, iovs, off) }
		b := over(t, d, 2000, &store{})
		read(t, b, object("o", testBlock), 0, testBlock)
		synctest.Wait()
		read(t, b, object("p", 5*testBlock), 0, 5*testBlock)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		if err := d.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		close(gate)
		synctest.Wait()
		if st := d.Stats(); st.QueuedBytes != 0 || st.Skipped != 5 {
			t.Errorf("%+v", st)
		}
	})
}

// Blocks that take memory only for the disk's sake give way to a flight, as many as it needs.
func TestQueuedBlocksGiveWay(t *testing.T) {
	bubbleDisk(t, 64, func(t *testing.T, d *Disk, b *Blocks, s *store, taps *valves) {
		gate := make(chan struct{})
		d.pwritev = func(fd int, iovs [][]byte, off int64) (int, error) { <-gate; return unix.Pwritev(fd, iovs, off) }
		s.answer = nil
		v, w := object("v", 16*testBlock), object("w", 100*testBlock)
		read(t, b, v, 0, testBlock)
		synctest.Wait() // it is being written
		read(t, b, v, testBlock, 15*testBlock)
		b.Consumed(v, 0, v.Size)
		if st := b.Stats(); st.HeldBytes != 16*testBlock {
			t.Errorf("%+v", st)
		}
		s.answer = taps.answer
		one := viewing(b, background, w, 0, 30*testBlock)
		synctest.Wait()
		two := viewing(b, background, w, 50*testBlock, 30*testBlock)
		synctest.Wait()
		if taps.len() != 2 || d.Stats().Skipped != 12 {
			t.Errorf("%d fetches, %+v", taps.len(), d.Stats())
		}
		close(gate)
		for i := range taps.len() {
			close(taps.at(i).open)
		}
		one.want(t, true, nil)
		two.want(t, true, nil)
	})
}
