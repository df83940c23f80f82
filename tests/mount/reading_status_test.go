package mount

import (
	"bytes"
	"encoding/json"
	"testing"

	"pailfs/tests/testenv"
)

// mountStatus is what these tests read of `pailfs status --json`.
type mountStatus struct {
	State       string
	Blocks      struct{ Hits, Misses, Fetches int64 }
	Disk        struct{ Bytes, Files, Skipped, Corrupt, Evicted int64 }
	Passthrough struct {
		On    bool
		Why   string
		Opens int64
	}
	Store struct{ Away bool }
}

// status waits until the mount has said all of itself: it answers the kernel a moment sooner than other programs.
func status(t *testing.T, m *testenv.MountPoint) (s mountStatus) {
	t.Helper()
	eventually(t, "the mount is serving", func() bool {
		s = statusNow(t, m)
		return s.State != "starting"
	})
	if s.State != "serving" {
		t.Fatalf("the mount is %s", s.State)
	}
	return s
}

func statusNow(t *testing.T, m *testenv.MountPoint) mountStatus {
	t.Helper()
	text, code := m.Command("status", "--json", m.Dir)
	out := []byte(text)
	var list []mountStatus
	// What it says to people stands before or behind.
	from, to := bytes.IndexByte(out, '['), bytes.LastIndexByte(out, ']')
	if from < 0 || to < from {
		t.Fatalf("status: %d %s", code, out)
	}
	if err := json.Unmarshal(out[from:to+1], &list); err != nil || len(list) != 1 {
		t.Fatalf("status: %v, %d %s", err, code, out)
	}
	return list[0]
}
