package main

import (
	"runtime"
	"slices"
	"time"

	"pailfs/cmd/pailfs/metrics"
)

// Numbers are the mount's for Prometheus. They never wait for the network.
func (r rooms) Numbers() metrics.Numbers {
	profile, counts, health := r.client.Profile(), r.client.Counters().Snapshot(), r.client.Health()
	n := metrics.Numbers{
		Version: buildInfo().Version, GoVersion: runtime.Version(), Mountpoint: r.plan.mountpoint, Durability: r.plan.Durability,
		Provider: profile.Name, Region: profile.Region,
		Ready:              r.unready() == "" && !health.Away,
		OperationsInFlight: r.Server.InFlight(),
		Retries:            counts.Retries, Throttled: counts.Throttled, Received: counts.BytesIn, Sent: counts.BytesOut,
		StoreAway: health.Away, Conflicts: int64(len(r.Files.Conflicts())), Uploads: int64(len(r.Register.Running())),
		Renames: int64(len(r.Tree.Renamings())),
	}
	if health.Away {
		n.StoreAwaySeconds = time.Since(health.Since).Seconds()
	}
	for _, o := range r.Server.Operations() {
		n.Operations = append(n.Operations, metrics.Operation{Kind: o.Kind, Took: o.Took, Errors: o.Errors})
	}
	for _, a := range r.client.Counters().Answers() {
		if len(a.Status) > 0 {
			n.Requests = append(n.Requests, metrics.Request{Kind: a.Kind, Took: a.Took, Status: a.Status})
		}
	}
	r.cacheNumbers(&n)
	r.pendingNumbers(&n)
	face, names, limits := r.Server.Status(), r.Tree.Stats(), r.client.Limits()
	n.AheadFetched, n.AheadUsed, n.PassthroughOpens = face.SmallFetched, face.SmallUsed, face.PassthroughOpens
	n.Names = metrics.Names{Known: int64(names.Entries), Attributes: int64(names.Attributes), Changes: int64(names.Changes),
		Hidden: int64(names.HiddenNames + names.Shadowed)}
	n.Limits = metrics.Limits{Requests: int64(limits.Requests), WriteRate: limits.WriteRate, Up: limits.Up, Down: limits.Down}
	return n
}

func (r rooms) cacheNumbers(n *metrics.Numbers) {
	b := r.Blocks.Stats()
	n.Memory = metrics.Memory{Budget: r.plan.Memory, Cached: b.Bytes, InFlight: b.InFlightBytes, Held: b.HeldBytes, Hits: b.Hits,
		Misses: b.Misses, Fetches: b.Fetches, Fetched: b.FetchedBytes}
	if r.disk == nil {
		return
	}
	d := r.disk.Stats()
	n.Disk = &metrics.Disk{Bytes: d.Bytes, Limit: r.plan.CacheSize, Files: d.Files, Hits: d.Hits, Misses: d.Misses, Read: d.ReadBytes,
		Written: d.WrittenBytes, Queued: d.QueuedBytes, Skipped: d.Skipped, Corrupt: d.Corrupt, Gone: d.Evicted, Paused: d.Paused != ""}
}

func (r rooms) pendingNumbers(n *metrics.Numbers) {
	p := pendingOf(slices.Concat(r.pendingFiles(), r.pendingNames()))
	n.Unsaved = metrics.Unsaved{Files: int64(p.Files), Bytes: p.Bytes, Names: int64(p.Names), Failed: int64(p.Failed)}
	if p.Oldest != nil {
		n.Unsaved.OldestSeconds = max(time.Since(*p.Oldest).Seconds(), 0)
	}
	j := r.Journal.Stats()
	n.Journal = metrics.Journal{Records: int64(j.Records), Notes: int64(j.Notes), Log: j.LogBytes, Spool: j.SpoolBytes, Memory: j.MemoryBytes,
		Syncs: int64(j.Syncs), Entries: int64(j.Entries)}
}
