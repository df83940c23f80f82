package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"pailfs/s3client/latency"
)

// operationKind is one of the kernel's requests.
type operationKind int

const (
	opLookup operationKind = iota
	opGetattr
	opSetattr
	opMknod
	opMkdir
	opUnlink
	opRmdir
	opRename
	opLink
	opSymlink
	opReadlink
	opGetxattr
	opListxattr
	opSetxattr
	opRemovexattr
	opCreate
	opOpen
	opRead
	opLseek
	opWrite
	opCopyFileRange
	opFlush
	opFsync
	opFallocate
	opRelease
	opOpendir
	opReaddir
	opReaddirplus
	opFsyncdir
	opReleasedir
	opStatfs
	operationKinds
)

var operationNames = [operationKinds]string{"lookup", "getattr", "setattr", "mknod", "mkdir", "unlink", "rmdir", "rename", "link",
	"symlink", "readlink", "getxattr", "listxattr", "setxattr", "removexattr", "create", "open", "read", "lseek", "write",
	"copy_file_range", "flush", "fsync", "fallocate", "release", "opendir", "readdir", "readdirplus", "fsyncdir", "releasedir",
	"statfs"}

// mostErrno is beyond the largest errno of Linux, EHWPOISON (133).
const mostErrno = 134

// meter is the file system as the kernel asks it, with a clock and counters before it: two looks at the clock and four atomic
// additions a request, some 150 ns. What is not counted (FORGET, locks, which there are none of) passes by.
type meter struct {
	fuse.RawFileSystem
	log    *slog.Logger
	flying atomic.Int64
	stir   atomic.Pointer[chan struct{}] // closed by the next request; nil: nobody waits for one
	of     [operationKinds]struct {
		took   latency.Histogram
		errnos [mostErrno]atomic.Int64
	}
}

// Operations are the kernel's requests of one kind so far.
type Operations struct {
	Kind string // lookup, read, ...
	// Took is the time from the request's arrival in this process to its answer, of failed ones as well.
	Took latency.Snapshot
	// Errors counts the failed ones by the name of their errno, ENOENT.
	Errors map[string]int64
}

// Operations reads the counters of the kinds that were ever asked for.
func (s *Server) Operations() []Operations {
	var all []Operations
	for k := range s.face.meter.of {
		of := &s.face.meter.of[k]
		one := Operations{Kind: operationNames[k], Took: of.took.Snapshot(), Errors: map[string]int64{}}
		if one.Took.Count() == 0 {
			continue
		}
		for errno := range of.errnos {
			if n := of.errnos[errno].Load(); n > 0 {
				one.Errors[errnoName(syscall.Errno(errno))] = n
			}
		}
		all = append(all, one)
	}
	return all
}

func errnoName(errno syscall.Errno) string {
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return fmt.Sprintf("E%d", int(errno))
}

// InFlight is how many of the kernel's requests are being answered.
func (s *Server) InFlight() int64 { return s.face.meter.flying.Load() }

// errUnanswered: the face does not answer a question that needs nothing but its own locks.
var errUnanswered = errors.New("a request of the kernel would not be answered: the process is stuck")

// Answers proves that a request of the kernel would be answered. It goes the way of one, from the library on, and not through the
// kernel: a process must not wait for its own mount (serve). The goroutine of a question that is never answered ends with the
// process, which is of no use any more.
func (s *Server) Answers(ctx context.Context) error {
	answer := make(chan fuse.Status, 1)
	go func() {
		var out fuse.StatfsOut
		answer <- s.face.meter.RawFileSystem.StatFs(nil, &fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID}, &out)
	}()
	select {
	case status := <-answer:
		if !status.Ok() {
			return fmt.Errorf("statfs of the root: %w", syscall.Errno(status))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w (%w)", errUnanswered, ctx.Err())
	}
}

// Stirred is closed by the next request of the kernel. Who looks at a mount now and then waits for it where there was nothing to see:
// a mount that nobody uses does not wake for it.
func (s *Server) Stirred() <-chan struct{} {
	for m, next := s.face.meter, make(chan struct{}); ; {
		if waits := m.stir.Load(); waits != nil {
			return *waits
		}
		if m.stir.CompareAndSwap(nil, &next) {
			return next
		}
	}
}

func (m *meter) begin() time.Time {
	m.flying.Add(1)
	if waits := m.stir.Load(); waits != nil && m.stir.CompareAndSwap(waits, nil) {
		close(*waits)
	}
	return time.Now()
}

func (m *meter) end(k operationKind, header *fuse.InHeader, began time.Time, status fuse.Status) fuse.Status {
	of, took := &m.of[k], time.Since(began)
	of.took.Observe(took)
	if status > 0 && status < mostErrno {
		of.errnos[status].Add(1)
	}
	m.flying.Add(-1)
	if ctx := context.Background(); m.log.Enabled(ctx, slog.LevelDebug) {
		m.log.LogAttrs(ctx, slog.LevelDebug, "kernel", slog.String("operation", operationNames[k]), slog.Uint64("node", header.NodeId),
			slog.Uint64("pid", uint64(header.Pid)), slog.String("status", status.String()), slog.Duration("took", took))
	}
	return status
}
