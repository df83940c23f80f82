package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	pfs "pailfs/fs"
	"pailfs/fs/tree"
)

// rooms is a mount as the control socket sees it: what its rooms say of themselves, in the words of `pailfs status`.
type rooms struct {
	*mounted
}

// startControl opens the control socket. A mount works without one, and says so in its log.
func (s *service) startControl(ctx context.Context, m *mounted) *control {
	c, err := startControl(ctx, filepath.Dir(m.runtime.path), s.plan.mountpoint, rooms{m}, s.log)
	if err == nil {
		err = m.runtime.Socket(filepath.Base(c.path))
	}
	if err != nil {
		s.log.Warn("status, flush, refresh and warm do not work with this mount", "err", err)
	}
	return c
}

// stopControl closes the control socket, before the rooms it asks.
func (s *service) stopControl(m *mounted, c *control) {
	if c == nil {
		return
	}
	if err := errors.Join(m.runtime.Ending(), c.Close()); err != nil {
		s.log.Error("closing the control socket", "err", err)
	}
}

func (r rooms) Status() statusReport {
	left := r.leftBehind()
	s := reportOf(r.runtime.State())
	if left {
		s.State = stateDetached
	}
	s.ReadOnly = r.plan.ReadOnly
	s.Store = r.store()
	s.LogLevel, s.MetricsAddr = levelName(r.plan.level.Level()), r.metricsAddr()
	s.Limits, s.Operations = limitsReportOf(r.client.Limits()), r.operations()
	files, names := r.pendingFiles(), r.pendingNames()
	s.Unsaved, s.Pending = unsavedOf(files), pendingOf(slices.Concat(files, names))
	s.Recovered = recoveredOf(r.Earlier, slices.Concat(files, names))
	for _, n := range r.Tree.Renamings() {
		s.Renames = append(s.Renames, renameReport{From: n.From, To: n.To, Stage: n.Stage, Since: n.Since, Found: n.Found, Copied: n.Copied,
			Deleted: n.Deleted, Earlier: n.Earlier})
	}
	s.Journal = r.journalReport()
	s.Conflicts = r.conflicts()
	b := r.Blocks.Stats()
	s.Memory = &memoryReport{Budget: r.plan.Memory, Cached: b.Bytes, InFlight: b.InFlightBytes, Held: b.HeldBytes, RSS: residentBytes("/proc")}
	s.Blocks = &blocksReport{Hits: b.Hits, Misses: b.Misses, Fetches: b.Fetches, Fetched: b.FetchedBytes}
	s.Disk = r.diskCache()
	face := r.Server.Status()
	s.Ahead = &aheadReport{Fetched: face.SmallFetched, Used: face.SmallUsed}
	s.Passthrough = &passthroughReport{On: face.Passthrough == "on", Opens: face.PassthroughOpens}
	if !s.Passthrough.On {
		s.Passthrough.Why = strings.TrimPrefix(face.Passthrough, "off: ")
	}
	n := r.Tree.Stats()
	s.Names = &namesReport{Known: n.Entries, Attributes: n.Attributes, Changes: n.Changes, Pending: n.Pending, Hidden: n.HiddenNames + n.Shadowed}
	counts := r.client.Counters().Snapshot()
	s.Requests = &counts
	return s
}

func (r rooms) store() *storeReport {
	p := r.client.Profile()
	s := &storeReport{Endpoint: p.Endpoint, Region: p.Region, Provider: p.Name}
	r.keys(s)
	if h := r.client.Health(); h.Away {
		s.Away, s.Since = true, &h.Since
		if h.Err != nil {
			s.Error = h.Err.Error()
		}
	}
	minute := r.client.Counters().LastMinute(time.Now())
	s.Requests, s.P50, s.P99 = int64(minute.Count()), minute.Quantile(0.5).Seconds(), minute.Quantile(0.99).Seconds()
	return s
}

// keys says where the access keys are from; nobody is asked.
func (r rooms) keys(s *storeReport) {
	k := r.client.KeysKnown()
	s.Keys, s.Trouble = k.Where, k.Trouble
	if r.plan.Keys.access != "" {
		s.Keys = r.plan.Keys.where
	}
	if k.Access != "" && k.Access != "..." { // of a short one nothing is shown
		s.Keys = k.Access + " from " + s.Keys
	}
	if !k.Read.IsZero() {
		s.KeysRead = &k.Read
	}
}

func (r rooms) operations() *operationsReport {
	o := &operationsReport{InFlight: r.Server.InFlight()}
	for _, kind := range r.Server.Operations() {
		o.Count += int64(kind.Took.Count())
		for _, n := range kind.Errors {
			o.Failed += n
		}
	}
	return o
}

func (r rooms) metricsAddr() string {
	if r.watched == nil {
		return ""
	}
	return r.watched.MetricsAddr
}

// diskCache is nil for a mount without one.
func (r rooms) diskCache() *diskReport {
	if r.disk == nil {
		return nil
	}
	d := r.disk.Stats()
	return &diskReport{Dir: r.plan.CacheDir, Bytes: d.Bytes, Limit: r.plan.CacheSize, Files: d.Files, Hits: d.Hits, Misses: d.Misses,
		Read: d.ReadBytes, Written: d.WrittenBytes, Queued: d.QueuedBytes, Skipped: d.Skipped, Corrupt: d.Corrupt,
		Evicted: d.Evicted, Index: d.IndexBytes, Paused: d.Paused}
}

func (r rooms) conflicts() *conflictsReport {
	list := r.Files.Conflicts()
	c := &conflictsReport{Count: len(list)}
	for _, one := range slices.Backward(list) {
		if len(c.Files) == mostListed {
			break
		}
		c.Files = append(c.Files, conflictReport{Path: one.ID.String(), Kept: one.Kept.String(), Time: one.Time})
	}
	slices.Reverse(c.Files)
	return c
}

func (r rooms) Refresh(ctx context.Context, path string) error {
	return r.failure("refresh", path, r.Server.Refresh(ctx, path))
}

func (r rooms) Warm(ctx context.Context, path string, jobs int, report func(warmProgress)) (warmProgress, error) {
	done, err := r.Server.Warm(ctx, path, pfs.WarmOptions{Jobs: jobs}, func(p pfs.WarmProgress) { report(warmProgressOf(p)) })
	return warmProgressOf(done), r.failure("warm", path, err)
}

func warmProgressOf(p pfs.WarmProgress) warmProgress {
	w := warmProgress{Files: p.Files, FilesDone: p.FilesDone, Bytes: p.Bytes, BytesDone: p.BytesDone, Failed: p.Failed, Path: p.Path}
	if p.Err != nil {
		w.Error = p.Err.Error()
	}
	return w
}

// failure says an error of the rooms as a user needs it.
func (r rooms) failure(command, path string, err error) error {
	if err == nil {
		return nil
	}
	about := r.plan.about
	about.command, about.cannot = command, command+" "+shown(path)
	if path == "" {
		about.cannot = command + " it"
	}
	if errors.Is(err, tree.ErrNotFound) {
		return about.fail(exitNotFound, "there is no such file or directory", "")
	}
	return about.storeFailure(err)
}

// residentBytes is the memory of this process, 0 where it cannot be read.
func residentBytes(proc string) int64 {
	b, err := os.ReadFile(filepath.Join(proc, "self/statm"))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
