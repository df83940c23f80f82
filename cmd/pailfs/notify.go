package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// A unit of Type=notify gives its process a socket (sd_notify(3)): systemd learns there that the mount answers, how much is
// not stored yet, that the process lives, and that stopping takes its time because something still moves.

const (
	// statusEvery is how often the status is made anew, but of a mount at rest, and statusAtEnd how often while the mount ends: then
	// somebody waits. What has not changed is not sent.
	statusEvery = 5 * time.Second
	statusAtEnd = time.Second
	// beatsInTime is how many signs of life fall into the time after which systemd gives a process up.
	beatsInTime = 3
)

// outlook is what a look at a mount says.
type outlook struct {
	text string // for people, one line
	// moved grows while something is stored. While the mount ends, each growth buys time.
	moved int64
	// rests: nothing is to be stored, and nothing will look different before the kernel asks again.
	rests bool
}

// notifier talks to systemd for one mount. A nil notifier talks to nobody.
type notifier struct {
	send     func(state string) error
	watchdog time.Duration // a process that gives no sign of life for so long is ended; 0: none is expected
	log      *slog.Logger

	// patience is how long nothing may move once the mount ends; 0 before that.
	patience atomic.Int64
	ends     chan struct{} // closed by Stopping
	failed   atomic.Bool   // it could not be told once: the log says so
	mu       struct {
		sync.Mutex
		status string // as told last
	}
	stop    context.CancelFunc
	running sync.WaitGroup
}

// newNotifier is nil where no service manager listens.
func newNotifier(log *slog.Logger) *notifier {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	n := &notifier{log: log, ends: make(chan struct{}), send: func(state string) error {
		_, err := sdnotify.SdNotify(false, state)
		return err
	}}
	var err error
	if n.watchdog, err = sdnotify.SdWatchdogEnabled(false); err != nil {
		log.Warn("no signs of life for the watchdog", "err", err)
	}
	return n
}

// tell sends lines. A service manager that does not hear is no reason to end a mount.
func (n *notifier) tell(lines ...string) {
	if err := n.send(strings.Join(lines, "\n")); err != nil && !n.failed.Swap(true) {
		n.log.Warn("systemd cannot be told how the mount is", "err", err)
	}
}

// statusLine is "" when the text was told last.
func (n *notifier) statusLine(text string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text == n.mu.status {
		return ""
	}
	n.mu.status = text
	return "STATUS=" + oneLine(text)
}

// Status says in a line how the mount is.
func (n *notifier) Status(text string) {
	if n == nil {
		return
	}
	if line := n.statusLine(text); line != "" {
		n.tell(line)
	}
}

// Reloading begins a reload, Ready ends it.
func (n *notifier) Reloading() {
	if n == nil {
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.log.Warn("no monotonic clock", "err", err)
	}
	n.tell(sdnotify.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// Ready says that the mount answers, or does so again after a reload.
func (n *notifier) Ready() {
	if n != nil {
		n.tell(sdnotify.SdNotifyReady)
	}
}

// Stopping says that the mount ends, and that this takes as long as something moves at least once in patience.
func (n *notifier) Stopping(patience time.Duration) {
	if n == nil {
		return
	}
	n.tell(sdnotify.SdNotifyStopping, extension(patience))
	if n.patience.Swap(int64(patience)) == 0 {
		close(n.ends)
	}
}

func extension(d time.Duration) string {
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds())
}

// Start tells the status whenever it changes and gives signs of life, as long as both look and alive come back: a face or a
// room that hangs stops it. At rest nothing is looked at until stirred is closed, which gives a new channel each time; nil: always.
// The caller calls Close.
func (n *notifier) Start(look func() outlook, alive func(context.Context) error, stirred func() <-chan struct{}) {
	if n == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	n.running.Go(func() { n.run(ctx, look, alive, stirred) })
}

// Close ends what Start began. It waits for a look that is going on.
func (n *notifier) Close() {
	if n != nil && n.stop != nil {
		n.stop()
		n.running.Wait()
	}
}

func (n *notifier) run(ctx context.Context, look func() outlook, alive func(context.Context) error, stirred func() <-chan struct{}) {
	looks := time.NewTicker(statusEvery)
	defer looks.Stop()
	var beats <-chan time.Time
	if every := n.watchdog / beatsInTime; every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		beats = ticker.C
		n.beat(ctx, every, alive)
	}
	last, ends := n.look(look, -1).moved, n.ends
	var next <-chan struct{} // not nil: the mount rests until it is closed
	for {
		select {
		case <-ctx.Done():
			return
		case <-ends:
			ends, next = nil, nil
			looks.Reset(statusAtEnd)
			last = n.look(look, last).moved
		case <-next:
			next = nil
			looks.Reset(statusEvery)
		case <-looks.C:
			var stirs <-chan struct{}
			if stirred != nil && ends != nil {
				stirs = stirred() // before the look: what comes meanwhile is not missed
			}
			o := n.look(look, last)
			if last = o.moved; o.rests && stirs != nil {
				looks.Stop()
				next = stirs
			}
		case <-beats:
			last = n.look(look, last).moved
			n.beat(ctx, n.watchdog/beatsInTime, alive)
		}
	}
}

// look tells what has changed since the last look, and buys time where the mount ends and something has moved.
func (n *notifier) look(look func() outlook, last int64) outlook {
	o := look()
	n.Status(o.text)
	if patience := time.Duration(n.patience.Load()); patience > 0 && o.moved != last {
		n.tell(extension(patience))
	}
	return o
}

// beat gives a sign of life when the mount answers in time.
func (n *notifier) beat(ctx context.Context, within time.Duration, alive func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := alive(ctx)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return
	case errors.Is(err, errUnasked): // that says nothing about the mount
		n.log.Warn("whether the mount answers its kernel cannot be found out", "err", err)
	case err != nil:
		n.log.Warn("no sign of life for the watchdog: the mount does not answer its kernel", "within", within, "err", err)
		return
	}
	n.tell(sdnotify.SdNotifyWatchdog)
}

// unitProcess says whether a process is the one that systemd has started for a unit of Type=notify. It serves the mount itself:
// systemd does not supervise well what is not its child, and kills it at once where KillMode=mixed promises a SIGTERM.
func unitProcess(getenv func(string) string, pid int) bool {
	if getenv("NOTIFY_SOCKET") == "" {
		return false
	}
	own := strconv.Itoa(pid)
	if exec := getenv("SYSTEMD_EXEC_PID"); exec != "" { // since systemd 248
		return exec == own
	}
	return getenv("WATCHDOG_PID") == own
}

// unitWords are the variables that tie a process to its unit.
var unitWords = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"}

// withoutUnit is the environment of a process in the background: a mount that some script of a service makes must not talk to
// systemd for that service.
func withoutUnit(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(unitWords, name)
	})
}

// ending says whether Stopping was told.
func (n *notifier) ending() bool { return n.patience.Load() > 0 }
