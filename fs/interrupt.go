package fs

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/opid"
)

// fatal are the signals that are meant to end a program: as bits of the masks in /proc/PID/status.
const fatal = uint64(1)<<(syscall.SIGHUP-1) | 1<<(syscall.SIGINT-1) | 1<<(syscall.SIGQUIT-1) |
	1<<(syscall.SIGKILL-1) | 1<<(syscall.SIGTERM-1)

// interruptPoll is how often a caller that was interrupted once is looked at again: the kernel tells of the first
// signal only, and the fatal one may be the second.
const interruptPoll = 100 * time.Millisecond

// request gives an operation its own context: it ends when the operation is over, after limit (0 means no limit: the
// store's calls have deadlines of their own), or when a fatal signal waits for the calling thread.
func (f *face) request(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	o := newOperation(ctx, limit)
	o.id, o.lent = opid.ID{Kind: 'f', N: f.operations.Add(1)}, f.lent
	return o, o.end
}

// requestOf is request for a part of an operation, which has its name in the log.
func (f *face) requestOf(whole, ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	o := newOperation(ctx, limit)
	o.lent = f.lent
	o.id, _ = opid.Of(whole)
	return o, o.end
}

// watchSignals runs from the request's first interrupt to its end, and cancels it when the caller is to die.
func watchSignals(own context.Context, cancel context.CancelFunc, of context.Context, lent bool) {
	caller, ok := fuse.FromContext(of)
	if !ok { // nobody is known: whoever ended the context means it
		cancel()
		return
	}
	tick := time.NewTicker(interruptPoll)
	defer tick.Stop()
	for {
		if fatalSignalPending(caller.Pid, lent) {
			cancel()
			return
		}
		select {
		case <-own.Done():
			return
		case <-tick.C:
		}
	}
}

// fatalSignalPending reads the pending signals of a thread. One that is in another pid namespace, as programs of other containers
// are, cannot be seen: its number is 0 then, and on a lent mount means something to whoever mounted. Nobody can tell whether it is to
// die, and what interrupts Go programs all the time must not fail their writes: its operation goes on to its end or its deadline.
// Else a thread that is gone is dead, and nobody waits for its answer.
func fatalSignalPending(pid uint32, lent bool) bool {
	if pid == 0 {
		return false
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/status")
	if err != nil {
		return !lent
	}
	return pendingMask(string(text))&fatal != 0
}

// pendingMask is the union of the thread's and the process's pending signals in a /proc/PID/status.
func pendingMask(status string) uint64 {
	var mask uint64
	for line := range strings.Lines(status) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || (name != "SigPnd" && name != "ShdPnd") {
			continue
		}
		if bits, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil {
			mask |= bits
		}
	}
	return mask
}
