package main

import (
	"context"
	"path/filepath"

	"pailfs/cache"
)

// openArchive opens the file that keeps what is known of versions for the next mount, beside the disk cache. A mount does
// without it where there is no place: it asks the store again.
func (m *mounted) openArchive() {
	p := m.plan
	if !p.FullAttributes {
		return
	}
	dir, err := p.CacheDir, error(nil)
	if dir == "" {
		dir, err = defaultCacheDir()
	}
	var a *cache.Archive
	if err == nil {
		a, err = cache.OpenArchive(cache.ArchiveOptions{Path: filepath.Join(dir, "mounts", escapeName(p.mountpoint), "attributes"),
			Store: storeName(p.store.Region, p.store.Endpoint), Log: m.log})
	}
	if err != nil {
		m.log.Info("attributes are not kept for the next mount", "err", err)
		return
	}
	m.archive = a
	m.closers = append(m.closers, func(context.Context) error { return a.Close() })
}
