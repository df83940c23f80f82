//go:build system

package system

import (
	"strings"
	"testing"
	"time"

	"pailfs/tests/docs"
	"pailfs/tests/testenv"
)

// The page on systemd, as it stands, on a machine that has booted. Every process there is told the store's address by a variable:
// the region's own leads to nobody.
func TestThePageOnSystemd(t *testing.T) {
	page, err := docs.Read(testenv.Root(t) + "/docs/systemd.md")
	if err != nil {
		t.Fatal(err)
	}
	store := testenv.StoreIn(t, t.TempDir())
	if err := store.Client.CreateBucket(t.Context(), "photos"); err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, store)
	m.file("/etc/pailfs/credentials", 0o600, "[default]\naws_access_key_id = "+store.AccessKey+"\naws_secret_access_key = "+store.SecretKey+"\n")
	m.file("/etc/systemd/system.conf.d/store.conf", 0o644, "[Manager]\nDefaultEnvironment=PAILFS_ENDPOINT="+store.Endpoint+"\n")
	m.file("/etc/fstab", 0o644, "")
	m.host("mkdir", "-p", m.dir+"/root/contrib")
	m.host("cp", "-r", testenv.Root(t)+"/contrib/systemd", m.dir+"/root/contrib/")
	if state := m.boot(); state != "running" {
		t.Errorf("the machine is %s", state)
	}
	for _, b := range page.Blocks {
		switch {
		case b.Check != "system":
		case b.Argument != "":
			m.file(b.Argument, 0o644, b.Text())
		default:
			m.carryOut(b)
		}
		if t.Failed() {
			t.Fatal(m.state())
		}
	}
	m.shutdown("poweroff")
}

// carryOut runs the commands of a block.
func (m *machine) carryOut(b docs.Block) {
	m.t.Helper()
	commands, err := b.Commands()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, c := range commands {
		script := "cd /root; export PAILFS_ENDPOINT=" + m.store.Endpoint + "\n" + c.Text
		out, err := m.try("sh", "-c", script)
		differs := docs.Match(c.Output, out)
		// What a service says of itself is a moment behind.
		for until := time.Now().Add(bootTimeout); differs != nil && strings.HasPrefix(c.Text, "systemctl show ") && time.Now().Before(until); {
			time.Sleep(50 * time.Millisecond)
			out, err = m.try("sh", "-c", script)
			differs = docs.Match(c.Output, out)
		}
		if err != nil || differs != nil {
			m.t.Errorf("%s:%d: %s\n%v\n%v\n%s", b.Page, c.Line, c.Text, err, differs, out)
			return
		}
	}
}
