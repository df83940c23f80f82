package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"pailfs/fs/journal"
	"pailfs/fs/wired"
	"pailfs/s3client"
)

// bindState writes into a mount's state directory which store it is of. Where another store's changes wait in it, the mount
// is refused: they would go to a bucket of the same name in the wrong place.
func (p *mountPlan) bindState(j *journal.Journal) error {
	if p.ReadOnly { // it stores nothing
		return nil
	}
	path := filepath.Join(journalDir(p.StateDir, p.mountpoint), "store")
	now := p.storeID()
	was, err := os.ReadFile(path)
	switch before := string(bytes.TrimSpace(was)); {
	case errors.Is(err, fs.ErrNotExist), err == nil && before == "": // a crash while it was written
	case err != nil:
		return fmt.Errorf("read whose state it is: %w", err)
	case before == now:
		return nil
	case hasChanges(j):
		return &failure{code: exitHost, command: "mount",
			message: fmt.Sprintf("cannot mount %s from %s: this mount point's state has changes that %s does not have yet", p.mountpoint, now, before),
			hint: fmt.Sprintf("mount %s there once more, so that they are stored (pailfs flush, pailfs umount), or use another mount point or --state-dir; "+
				"if both are the same store, remove %s", before, path)}
	}
	if err := os.WriteFile(path, []byte(now+"\n"), 0o600); err != nil {
		return fmt.Errorf("write whose state it is: %w", err)
	}
	return nil
}

// bindKeys writes which access key a mount's changes are made with, and warns when those that wait are about to be made with
// another one. It refuses nothing: keys are renewed, and which account a key is of nobody knows without asking the store, or, on
// Swift, without asking the identity service. There a bucket's name is its project's own, so that the same name may be
// another bucket with another project's key.
func (p *mountPlan) bindKeys(j *journal.Journal, known func() (s3client.Keys, error), log *slog.Logger) error {
	keys, err := known()
	if err != nil || p.ReadOnly || keys.Access == "" || keys.Session { // the first request says why; a session's change by the hour
		return nil
	}
	path := filepath.Join(journalDir(p.StateDir, p.mountpoint), "key")
	was, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read whose state it is: %w", err)
	}
	before := string(bytes.TrimSpace(was))
	if before == keys.Access {
		return nil
	}
	if before != "" && hasChanges(j) {
		log.Warn("changes that the store does not have yet were made with another access key: they are stored with this one, where its account has a bucket of that name",
			"before", before, "now", keys.Access)
	}
	if err := os.WriteFile(path, []byte(keys.Access+"\n"), 0o600); err != nil {
		return fmt.Errorf("write whose state it is: %w", err)
	}
	return nil
}

// hasChanges says whether earlier runs left something for the store. What cannot be read counts.
func hasChanges(j *journal.Journal) bool {
	kept, err := wired.KeptIn(j)
	return err != nil || kept.Len() > 0
}
