package fs

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
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
	return o, o.end
}

func callerPID(ctx context.Context) uint32 {
	if caller, ok := fuse.FromContext(ctx); ok {
		return caller.Pid
	}
	return 0
}

// watchSignals runs from the request's first interrupt to its end, and cancels it when the caller is to die.
func watchSignals(own context.Context, cancel context.CancelFunc, pid uint32) {
	tick := time.NewTicker(interruptPoll)
	defer tick.Stop()
	for {
		if fatalSignalPending(pid) {
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

// fatalSignalPending reads the pending signals of a thread. A caller that cannot be seen (another pid namespace, or
// dead already) counts as dying: nobody waits for the answer.
func fatalSignalPending(pid uint32) bool {
	if pid == 0 {
		return true
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/status")
	if err != nil {
		return true
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
