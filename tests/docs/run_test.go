package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pailfs/s3client/keystone/keystonetest"
	"pailfs/tests/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// pages are all of docs/, and the front page.
func pages(t *testing.T) []Page {
	t.Helper()
	root := testenv.Root(t)
	files, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(files) < 9 {
		t.Fatalf("%v %v", files, err)
	}
	var all []Page
	for _, file := range append(files, root+"/README.md") {
		p, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(file) == root {
			p.Name = "front page"
		}
		all = append(all, p)
	}
	return all
}

// prepared is what a host has when a page begins, as a script of root. A page that is not named begins with access keys, as
// getting-started.md ends.
var prepared = map[string]string{
	"getting-started.md": "",
	"":                   withKeys,
	"front page": withKeys + `
mkdir -p /mnt/account /mnt/2026 /mnt/backup /mnt/logs ~/holiday ~/src
echo 1 >~/holiday/beach.jpg; echo 2 >"$HOME/holiday/한글 이름.jpg"; echo 3 >~/src/main.c; tar c -C ~ -f ~/src.tar src`,
	"security.md": withKeys + openrc,
	"containers.md": withKeys + `
mkdir -p /etc/containers
cat >/etc/containers/containers.conf <<end
[containers]
netns = "host"
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
end`,
}

const (
	withKeys = `
for home in /root /home/me; do
	mkdir -p $home/.aws
	printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$ACCESS" "$SECRET" >$home/.aws/credentials
	chmod 600 $home/.aws/credentials
done
cp /root/.aws/credentials /etc/pailfs/credentials
chown -R 1000:1000 /home/me
mkdir -p /mnt/photos /mnt/bucket`
	openrc = `
cat >/root/openrc <<end
OS_AUTH_URL=https://` + identityHost + `/v2.0
OS_USERNAME=$OS_USER
OS_PASSWORD="$OS_PASS"
OS_TENANT_ID=$OS_TENANT
end
chmod 600 /root/openrc`
)

// standsFor is what somebody puts into a file in place of the page's words.
var standsFor = strings.NewReplacer("the API password", keystonetest.Password, "the tenant's id", keystonetest.ProjectID, "ACCESS", ownerAccess, "SECRET", ownerSecret)

// runsHere says whether a block is a part of what happens on the page's host.
func runsHere(b Block) bool {
	switch b.Check {
	case "run", "exit", "terminal", "file":
		return true
	case "container":
		return withPodman
	}
	return false
}

// Every command of the pages does what the page says, from its first to its last.
func TestEveryCommandOfThePages(t *testing.T) {
	installed := install(t)
	for _, page := range pages(t) {
		t.Run(page.Name, func(t *testing.T) {
			here := 0
			for _, b := range page.Blocks {
				if runsHere(b) {
					here++
				}
			}
			if here == 0 {
				return
			}
			h := newHost(t, installed)
			h.prepare(page.Name)
			for _, b := range page.Blocks {
				if runsHere(b) {
					h.block(b)
				}
				if t.Failed() {
					t.Log(h.state())
					return
				}
			}
			h.leave()
		})
	}
}

// prepare makes what is there before a page begins.
func (h *host) prepare(page string) {
	h.t.Helper()
	script, own := prepared[page]
	if !own {
		script = prepared[""]
	}
	if script == "" {
		return
	}
	h.identity.Add(keystonetest.ProjectID)
	for _, bucket := range []string{"photos", "logs", "backup"} {
		for _, s := range []*testenv.Server{h.store, h.other} {
			if err := s.Client.CreateBucket(h.t.Context(), bucket); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	for key, text := range map[string]string{"2026/beach.jpg": "a beach", "2026/dunes.jpg": "some dunes", "training/one.bin": "1", "training/two.bin": "22"} {
		h.store.Put(h.t, "photos", key, []byte(text), nil)
	}
	words := fmt.Sprintf("ACCESS=%s SECRET=%s OS_USER=%s OS_PASS='%s' OS_TENANT=%s", ownerAccess, ownerSecret, keystonetest.User, keystonetest.Password, keystonetest.ProjectID)
	if out, code := h.run(h.root, words+"\n"+script+"\nunset ACCESS SECRET OS_USER OS_PASS OS_TENANT"); code != 0 {
		h.t.Fatalf("preparing the host: %s", out)
	}
}

// block does what one block says.
func (h *host) block(b Block) {
	h.t.Helper()
	if b.Check == "file" {
		h.file(b)
		return
	}
	commands, err := b.Commands()
	if err != nil {
		h.t.Error(err)
		return
	}
	for i, c := range commands {
		want := 0
		if b.Check == "exit" && i == len(commands)-1 {
			if want, err = strconv.Atoi(b.Argument); err != nil {
				h.t.Errorf("%s:%d: exit %s", b.Page, b.Line, b.Argument)
				return
			}
		}
		s := h.me
		if c.Root {
			s = h.root
		}
		var out string
		var code int
		if b.Check == "terminal" {
			out, code = h.terminal(s, c)
		} else {
			out, code = h.run(s, c.Text)
		}
		if code != want {
			h.t.Errorf("%s:%d: %s\nended with %d, want %d\n%s", b.Page, c.Line, c.Text, code, want, out)
			return
		}
		if err := Match(c.Output, out); err != nil {
			h.t.Errorf("%s:%d: %s\n%v", b.Page, c.Line, c.Text, err)
			return
		}
	}
}

// file writes a block as the page says: the path, and the mode where it is not 0644.
func (h *host) file(b Block) {
	h.t.Helper()
	path, mode, _ := strings.Cut(b.Argument, " ")
	if mode == "" {
		mode = "0644"
	}
	if err := os.WriteFile(h.dir+"/out/file", []byte(standsFor.Replace(b.Text())), 0o644); err != nil {
		h.t.Fatal(err)
	}
	s := h.root
	if strings.HasPrefix(path, "~/") {
		s = h.me
	}
	if out, code := h.run(s, fmt.Sprintf(`mkdir -p "$(dirname %[1]s)" && cp /run/out/file %[1]s && chmod %[2]s %[1]s`, path, mode)); code != 0 {
		h.t.Errorf("%s:%d: %s", b.Page, b.Line, out)
	}
}

// leave unmounts what the page has left: everything is stored.
func (h *host) leave() {
	h.t.Helper()
	out, code := h.run(h.root, `findmnt -rn -t fuse.pailfs -o TARGET | while read -r m; do pailfs umount "$m" || exit; done`)
	if code != 0 {
		h.t.Errorf("unmounting what the page has left: %s\n%s", out, h.state())
	}
}

// state is what a failed page is told.
func (h *host) state() string {
	out, _ := h.run(h.root, `findmnt -t fuse.pailfs; pailfs status --all; tail -n 30 /var/lib/pailfs/log/* /home/me/.local/state/pailfs/log/* 2>/dev/null`)
	return out
}
