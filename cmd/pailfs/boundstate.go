package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pailfs/fs/journal"
	"pailfs/fs/outbox"
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

// hasChanges says whether earlier runs left something for the store. What cannot be read counts.
func hasChanges(j *journal.Journal) bool {
	pendings, err := j.Pendings()
	return err != nil || len(pendings) > 0 || len(j.Notes(outbox.NoteKind)) > 0 || len(j.Notes(renameKind)) > 0
}
