package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	pfs "pailfs/fs"
)

const (
	// unmountGrace is how long the kernel's goodbye is waited for after an unmount: a copy of the mount in another
	// namespace keeps the connection open for ever.
	unmountGrace = 10 * time.Second
	// keepGrace bounds writing what is left to the journal.
	keepGrace = 5 * time.Minute
)

// service is one run of a mount: it opens it, says so, serves until it is unmounted or told to stop, and drains.
type service struct {
	plan *mountPlan
	log  *slog.Logger
	// ready is called once: with nil when the mount answers, or with why it does not.
	ready func(*failure)
	// reopenLog is called at SIGHUP; nil where there is nothing to open again. In the foreground SIGHUP then means that the
	// terminal is gone, but in a unit, which has none, that it is to be reloaded.
	reopenLog func() error
	// show tells people, or the log, how far storing is.
	show *progressShow
	// notify tells systemd how the mount is; nil where no unit's process runs.
	notify *notifier
}

func serveInForeground(ctx context.Context, plan *mountPlan, stderr io.Writer) error {
	out := stderr
	s := &service{plan: plan, ready: func(*failure) {}}
	if plan.LogFile != "" {
		l, err := openLog(plan.LogFile)
		if err != nil {
			return plan.logFailure(err, plan.LogFile)
		}
		defer l.Close()
		out = l
		s.reopenLog = l.Reopen
	}
	s.log = newLog(out, plan.settings)
	s.show = newStoringShow(stderr, s.log)
	return s.run(ctx)
}

// run is a mount from beginning to end.
func (s *service) run(ctx context.Context) error {
	unix.Umask(0) // modes come from the kernel with the caller's umask applied
	limitHeap(s.plan.Memory)
	signal.Ignore(unix.SIGPIPE) // a log nobody reads any more must not end the mount
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(signals)

	s.notify = newNotifier(s.log)
	watched, err := openObserver(ctx, s.plan.MetricsAddr, s.plan.DebugAddr, s.log)
	if err != nil {
		return s.unmounted(err)
	}
	for _, n := range s.plan.notes {
		s.log.Warn(n)
	}
	m, err := s.open(ctx, signals)
	if err != nil {
		return s.unmounted(errors.Join(err, watched.Close()))
	}
	m.watched = watched
	watched.Mounted(rooms{m})
	s.log.Info("mounted", "mountpoint", s.plan.mountpoint, "source", s.plan.source(), "version", buildInfo().Version,
		"memory", s.plan.Memory, "state", s.plan.StateDir)
	if s.plan.behind() {
		s.log.Info("durability=journal is experimental: README, Durability")
	}
	ctl := s.startControl(ctx, m)
	s.ready(nil)
	s.tellSystemd(m)
	return s.serve(ctx, m, ctl, signals)
}

// unmounted says that there will be no mount.
func (s *service) unmounted(err error) error {
	f := s.plan.failure(err, "")
	s.log.Error("mount failed", "err", f.message)
	s.notify.Status(f.message)
	s.ready(f)
	return f
}

// open mounts; a signal meanwhile ends the attempt. One that comes when the kernel has the mount already, and programs may have used
// it, ends it as it ends every mount: it is given back.
func (s *service) open(ctx context.Context, signals chan os.Signal) (*mounted, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	opened, caught := make(chan struct{}), make(chan os.Signal, 1)
	go func() {
		defer close(caught)
		select {
		case sig := <-signals:
			cancel(fmt.Errorf("%v", sig))
			caught <- sig
		case <-opened:
		}
	}()
	m, err := s.plan.open(ctx, s.log)
	close(opened)
	sig := <-caught
	switch {
	case sig == nil:
		return m, err
	case err != nil:
		return nil, &failure{code: exitInterrupted, command: "mount", message: "interrupted"}
	}
	select {
	case signals <- sig:
	default: // there are others
	}
	return m, nil
}

// serve waits for the end of the mount and stores what is left.
func (s *service) serve(ctx context.Context, m *mounted, ctl *control, signals <-chan os.Signal) error {
	recovery := startRecovery(context.WithoutCancel(ctx), m.Recover, s.log)
	unmounted := make(chan struct{})
	go func() {
		defer close(unmounted)
		m.Server.Wait()
	}()
	sig := s.wait(ctx, m.loan.Stop(), unmounted, signals)
	m.ending.Store(true)
	s.notify.Stopping(s.plan.drainPatience())
	ctl.Drain()

	// From here on a signal means: do not wait for the store any longer.
	draining, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var patience sync.WaitGroup
	patience.Go(func() { s.stopWaiting(stop, ended, signals) })
	d := s.drainOf(m)
	if sig != "" {
		d.waited = s.leave(draining, m, d, unmounted, sig)
	}
	res := d.finish(draining, recovery, s.plan.StateDir, s.plan.mountpoint)
	close(ended)
	stop()
	patience.Wait()
	s.stopControl(m, ctl)
	if err := m.watched.Close(); err != nil {
		s.log.Debug("closing what is probed", "err", err)
	}
	return s.end(m, res)
}

// wait serves until the mount is gone, or a signal or the mount-helper asks to stop, whose name it returns.
func (s *service) wait(ctx context.Context, asked, unmounted <-chan struct{}, signals <-chan os.Signal) string {
	for {
		select {
		case <-unmounted:
			s.log.Info("unmounted", "mountpoint", s.plan.mountpoint)
			return ""
		case <-ctx.Done():
			return "canceled"
		case <-asked:
			s.log.Info("stopping: the mount-helper asks for it")
			return "mount-helper"
		case sig := <-signals:
			if sig != unix.SIGHUP || s.reopenLog == nil && s.notify == nil {
				s.log.Info("stopping", "signal", sig.String())
				return sig.String()
			}
			s.reload()
		}
	}
}

// reload carries out SIGHUP. What else may change, the credentials file, is looked at all the time.
func (s *service) reload() {
	s.notify.Reloading()
	defer s.notify.Ready()
	switch {
	case s.reopenLog == nil:
		s.log.Info("nothing to reload: the log is standard error")
	default:
		if err := s.reopenLog(); err != nil {
			s.log.Error("the log cannot be opened again", "err", err)
		} else {
			s.log.Info("log opened again")
		}
	}
}

// stopWaiting ends the patience with the store at the next signal.
func (s *service) stopWaiting(stop context.CancelFunc, ended <-chan struct{}, signals <-chan os.Signal) {
	for {
		select {
		case <-ended:
			return
		case sig := <-signals:
			if sig == unix.SIGHUP {
				continue
			}
			s.log.Warn("not waiting for the store any longer", "signal", sig.String())
			stop()
			return
		}
	}
}

// leave takes the mount away because a signal asked for it. A mount that is in use stays until what was written so far is
// stored, and is then detached: its programs get errors from there on. True: a store that is away was waited for.
func (s *service) leave(ctx context.Context, m *mounted, d drain, unmounted <-chan struct{}, sig string) (waited bool) {
	tried := make(chan error, 1)
	go func() { tried <- m.Server.Unmount() }()
	grace := time.NewTimer(unmountGrace)
	defer grace.Stop()
	select {
	case err := <-tried:
		switch {
		case err == nil:
			return false
		case errors.Is(err, pfs.ErrNotOurs):
			s.log.Info("the mount is left to whoever mounted it: it is dead when this process has stored everything and ends", "err", err)
			return false
		}
		if info, tableErr := pfs.TopMount(s.plan.mountpoint); tableErr == nil && info == nil && !s.plan.lent() {
			return false // taken away already; programs that still hold files get errors when this process ends
		}
		s.log.Warn("the mount is in use: storing what was written, then detaching it", "signal", sig, "err", err)
	case <-unmounted:
		return false
	case <-grace.C:
		s.log.Warn("the kernel does not let go of the mount", "after", unmountGrace)
		return false
	}
	err := d.store(ctx)
	if err != nil {
		s.log.Error("not all could be stored", "err", err)
	}
	if err := m.Server.Detach(); err != nil {
		s.log.Error("the mount cannot be detached", "mountpoint", s.plan.mountpoint, "err", err)
	}
	return err != nil
}

func (s *service) drainOf(m *mounted) drain {
	d := drain{
		files: m.Files, stall: s.plan.Timeout, keeping: keepGrace,
		kept: func() []unsavedFile { return append(rooms{m}.pendingNames(), m.kept()...) },
		sent: m.moved,
		waits: func(err error) {
			s.log.Warn("not all could be stored; it is tried again while the store may come back", "patience", s.plan.Timeout, "err", err)
		},
	}
	if m.Outbox != nil {
		d.names = m.Outbox
	}
	told := func(write func(done, total int64) error) func(done, total int64) {
		return func(done, total int64) {
			if err := write(done, total); err != nil {
				s.log.Debug("progress cannot be written", "err", err)
			}
			if p := m.runtime.State().Progress; p != nil {
				s.show.storing(*p)
			}
		}
	}
	d.report, d.reportNames = told(m.runtime.Progress), told(m.runtime.Names)
	return d
}

// moved grows while something goes to the store, or inside it.
func (m *mounted) moved() int64 {
	n := m.client.Counters().Snapshot().BytesOut
	for _, r := range m.Tree.Renamings() {
		n += r.Copied + r.Deleted
	}
	return n
}

// end closes the rooms, leaves the result for `pailfs umount` and makes it this process's own.
func (s *service) end(m *mounted, res result) error {
	s.untellSystemd(res.words())
	closing, cancel := context.WithTimeout(context.Background(), keepGrace)
	defer cancel()
	if err := m.closeRooms(closing); err != nil {
		s.log.Error("closing", "err", err)
		if res.Code == exitUnsaved { // what is left may not be kept either
			first, _, _ := strings.Cut(err.Error(), "\n")
			res.Message += "; closing: " + first
		}
	}
	s.show.clear()
	for _, u := range res.Unsaved {
		s.log.Error("not stored", "file", u.Path, "change", u.Change, "bytes", u.Bytes, "since", u.Since, "err", u.Error)
	}
	m.forgetInUtab()
	if err := m.runtime.Finish(res); err != nil {
		s.log.Error("the result cannot be left for umount", "err", err)
	}
	if res.Code == exitOK {
		s.log.Info("everything is stored")
		return nil
	}
	s.log.Error(res.Message, "hint", res.Hint)
	return &failure{code: res.Code, command: "mount", message: res.Message, hint: res.Hint}
}

// crashesTo sends the runtime's report of a crash to a file as well, unless standard error is that file: it would have each piece twice,
// one in the other.
func crashesTo(f *os.File, log *slog.Logger) {
	own, err := f.Stat()
	if stderr, stderrErr := os.Stderr.Stat(); err == nil && stderrErr == nil && os.SameFile(own, stderr) {
		return
	}
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		log.Warn("reports of a crash go to standard error alone", "err", err)
	}
}
