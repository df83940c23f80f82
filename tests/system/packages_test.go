//go:build system

package system

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

// The versions of the packages under test; the second is that of an upgrade.
const (
	firstVersion  = "1.2.3"
	secondVersion = "1.3.0"
)

// buildPackages builds packages of what lies in a directory, with what would differ on another host set to something else.
func buildPackages(t *testing.T, source, dist, version, arches string, environment ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(source, "contrib/packages/build"))
	cmd.Env = append(os.Environ(), "VERSION="+version, "DIST="+dist, "ARCHES="+arches,
		"COMMIT=0123456789abcdef0123456789abcdef01234567", "DATE=2026-11-23T09:17:00+09:00", "SOURCE_DATE_EPOCH=1795393020")
	cmd.Env = append(cmd.Env, environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("contrib/packages/build: %v\n%s", err, out)
	}
}

// sourceCopy is a copy of the repository's files, committed or not, without its history.
func sourceCopy(t *testing.T, to string) {
	t.Helper()
	script := `git ls-files -coz --exclude-standard | while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
tar --create --null --files-from=- | tar --extract --directory "$1"`
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script, "copy", to)
	cmd.Dir = testenv.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy the sources: %v\n%s", err, out)
	}
}

// Two builds in different directories, of users with different habits, give the same bytes; what is in them needs nothing of the
// host and says which version it is.
func TestPackagesAreReproducible(t *testing.T) {
	testenv.Require(t)
	testenv.Programs(t, "git", "tar", "bash")
	base := t.TempDir()
	one, two := filepath.Join(base, "one"), filepath.Join(base, "a longer path", "two")
	dists := []string{filepath.Join(base, "dist1"), filepath.Join(base, "dist2")}
	sourceCopy(t, one)
	sourceCopy(t, two)
	buildPackages(t, one, dists[0], firstVersion, "amd64 arm64")
	buildPackages(t, two, dists[1], firstVersion, "amd64 arm64", "TZ=Asia/Seoul", "LANG=ko_KR.UTF-8", "GOFLAGS=-v", "TMPDIR="+t.TempDir())
	var sums [2]string
	for i, dist := range dists {
		text, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(text)
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 6 {
		t.Errorf("two builds differ:\n%s\n%s", sums[0], sums[1])
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		dir := t.TempDir()
		name := fmt.Sprintf("pailfs-%s-linux-%s", firstVersion, arch)
		if out, err := exec.Command("tar", "-x", "-C", dir, "-f", filepath.Join(dists[0], name+".tar.gz")).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		program := filepath.Join(dir, name, "bin/pailfs")
		f, err := elf.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine || slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC }) {
			t.Errorf("%s: %v, or not static", arch, f.Machine)
		}
		f.Close()
		if arch == runtime.GOARCH {
			out, err := exec.Command(program, "version").CombinedOutput()
			if want := "pailfs " + firstVersion + " (0123456789ab) " + runtime.Version(); err != nil || !strings.HasPrefix(string(out), want) {
				t.Errorf("%v, %s, want %s", err, out, want)
			}
		}
	}
}

// packaged is a machine that has pailfs by a package.
type packaged struct {
	*rig
	deb1, deb2, rpm, tarball string // inside
}

// TestPackages is a host's life with the packages: every part begins where the one before has ended.
func TestPackages(t *testing.T) {
	testenv.Require(t)
	dist := os.Getenv("PAILFS_TEST_PACKAGES") // where both versions have been built already
	if dist == "" {
		dist = t.TempDir()
		for _, version := range []string{firstVersion, secondVersion} {
			buildPackages(t, testenv.Root(t), dist, version, runtime.GOARCH)
		}
	}
	store := testenv.StoreIn(t, t.TempDir())
	p := &packaged{rig: &rig{machine: bareMachine(t, store, "PAILFS_TEST_PACKAGE_TREE"), bucket: store.Bucket(t), whole: t}}
	rpmArch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	for name, file := range map[*string]string{
		&p.deb1:    fmt.Sprintf("pailfs_%s_%s.deb", firstVersion, runtime.GOARCH),
		&p.deb2:    fmt.Sprintf("pailfs_%s_%s.deb", secondVersion, runtime.GOARCH),
		&p.rpm:     fmt.Sprintf("pailfs-%s-1.%s.rpm", firstVersion, rpmArch),
		&p.tarball: fmt.Sprintf("pailfs-%s-linux-%s.tar.gz", firstVersion, runtime.GOARCH),
	} {
		*name = "/root/" + file
		p.host("cp", filepath.Join(dist, file), p.dir+*name)
	}
	keys := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", store.AccessKey, store.SecretKey)
	p.file("/root/keys", 0o600, keys)
	if state := p.boot(); state != "running" {
		t.Fatalf("the machine is %s", state)
	}
	p.sh("find / -xdev -name '*pailfs*' | sort >/root/before; mkdir -p /mnt/box /mnt/hand /mnt/tab")
	for _, part := range []struct {
		name string
		run  func(*packaged, *testing.T)
	}{
		{"Install", (*packaged).install},
		{"Pages", (*packaged).pages},
		{"Units", (*packaged).verifyUnits},
		{"Completion", (*packaged).completion},
		{"Use", (*packaged).use},
		{"Upgrade", (*packaged).upgrade},
		{"Remove", (*packaged).remove},
		{"Purge", (*packaged).purge},
		{"InstallAgain", (*packaged).installAgain},
		{"RPM", (*packaged).red},
		{"Tarball", (*packaged).tar},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			outer := p.t
			p.t = t
			defer func() { p.t = outer }()
			part.run(p, t)
		}) {
			return
		}
	}
}

func (p *packaged) install(t *testing.T) {
	out := p.sh("dpkg -i " + p.deb1)
	if strings.Contains(out, "pailfs:") || strings.Contains(out, "warning") {
		t.Errorf("the first installation says\n%s", out)
	}
	if got := p.sh("pailfs version"); !strings.HasPrefix(got, "pailfs "+firstVersion+" ") {
		t.Error(got)
	}
	if got := p.sh("dpkg --verify pailfs; dpkg -s pailfs | grep -E '^(Status|Depends|Version|Architecture):'"); got !=
		fmt.Sprintf("Status: install ok installed\nArchitecture: %s\nVersion: %s\nDepends: fuse3\n", runtime.GOARCH, firstVersion) {
		t.Error(got)
	}
	// Owners and modes, and links that lead somewhere.
	listing := p.sh("dpkg -L pailfs | grep pailfs | while read -r f; do stat -L -c '%U:%G %a %n %F' $f; done")
	for line := range strings.Lines(listing) {
		mode := strings.Fields(line)[1]
		want := "644"
		switch path := strings.Fields(line)[2]; {
		case strings.HasPrefix(path, "/usr/bin/"), strings.HasPrefix(path, "/usr/sbin/"), strings.Fields(line)[3] == "directory":
			want = "755"
		}
		if !strings.HasPrefix(line, "root:root ") || mode != want {
			t.Errorf("%s is not root:root %s", strings.TrimSpace(line), want)
		}
	}
	for _, name := range []string{"mount.pailfs", "mount.fuse.pailfs", "umount.pailfs", "umount.fuse.pailfs"} {
		if got := p.sh("readlink -f /sbin/" + name); got != "/usr/bin/pailfs\n" {
			t.Errorf("/sbin/%s leads to %s", name, got)
		}
	}
	if got := p.sh("ls -A /etc/pailfs; dpkg-query -W -f '${Conffiles}' pailfs"); got != "" {
		t.Errorf("the package has put something into /etc/pailfs: %s", got)
	}
	if got := p.sh("pailfs config check /usr/share/doc/pailfs/examples/config.yaml"); !strings.Contains(got, "photos") {
		t.Error(got)
	}
}

// Every page is found by man, renders as text of some length, and nothing in it is complained of.
func (p *packaged) pages(t *testing.T) {
	for _, page := range []struct{ section, name, has string }{
		{"1", "pailfs", "--metadata-ttl TIME"}, {"5", "pailfs-config", "metadata-ttl: TIME"}, {"8", "mount.pailfs", "metadata_ttl=TIME"},
		{"8", "mount.fuse.pailfs", "metadata_ttl=TIME"}, {"8", "umount.pailfs", "MOUNTPOINT"}, {"8", "umount.fuse.pailfs", "MOUNTPOINT"},
	} {
		text := p.sh(fmt.Sprintf("man -w %s %s >/dev/null; MANWIDTH=80 man -E ascii --warnings=w %s %s 2>/root/said", page.section, page.name, page.section, page.name))
		if said := p.sh("cat /root/said"); !strings.Contains(text, page.has) || said != "" || strings.Count(text, "\n") < 20 {
			t.Errorf("%s(%s): %s\n%s", page.name, page.section, said, text)
		}
	}
	if got := p.sh("cd /usr/share/man; for f in man?/*pailfs*.gz; do zcat $f | mandoc -Tlint -Wwarning || true; done"); got != "" {
		t.Errorf("mandoc: %s", got)
	}
	if got := p.sh("zcat /usr/share/man/man1/pailfs.1.gz"); !strings.Contains(got, `"2026-11-23" "pailfs `+firstVersion+`"`) {
		t.Errorf("%.300s", got)
	}
}

func (p *packaged) verifyUnits(t *testing.T) {
	p.sh("cp /usr/share/doc/pailfs/examples/mnt-photos.* /etc/systemd/system/")
	if got := p.sh("systemd-analyze verify --man=yes pailfs@photos.service /etc/systemd/system/mnt-photos.mount /etc/systemd/system/mnt-photos.automount 2>&1"); got != "" {
		t.Errorf("systemd-analyze says %s", got)
	}
	p.sh("rm /etc/systemd/system/mnt-photos.*; rmdir /mnt/photos 2>/dev/null || true; systemctl daemon-reload")
}

// Each shell finds the package's script by itself, and what may follow with it.
func (p *packaged) completion(t *testing.T) {
	if got := p.sh(`bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader pailfs
COMP_LINE="pailfs mount --durability=j" COMP_POINT=27 COMP_WORDS=(pailfs mount --durability = j) COMP_CWORD=4; _pailfs; echo "${COMPREPLY[@]}"'`); got != "journal\n" {
		t.Errorf("bash: %s", got)
	}
	if got := p.sh(`fish -c 'complete -C "pailfs mount --durability="; complete -C "pailfs log-lev"'`); !strings.HasPrefix(got, "--durability=store\n--durability=journal\nlog-level\tchange how much") {
		t.Errorf("fish: %q", got)
	}
	// In zsh only a terminal completes. What was typed is shown when it has.
	p.file("/root/complete.zsh", 0o644, `zmodload zsh/zpty
zpty z 'zsh -f -i'
answer() { # reads until the marked line is there
	local line
	while zpty -r z line; do
		[[ $line == *'<<'*'>>'* ]] && { print -r -- "${${line##*<<}%%>>*}"; return }
	done
}
zpty -w z 'PS1= ; autoload -U compinit; compinit -u; show() { zle -I; print -r -- "<""<$BUFFER>"">"; BUFFER= }; zle -N show; bindkey "^X" show'
for line in 'pailfs mount --durability=j' 'pailfs mount --durability s' 'pailfs log-lev' 'pailfs mount b /mnt -o ro,durab'; do
	zpty -n -w z "$line"$'\t\x18'
	answer
done
zpty -d z
`)
	want := "pailfs mount --durability=journal \npailfs mount --durability store \npailfs log-level \npailfs mount b /mnt -o ro,durability=\n"
	if got := p.sh("timeout 60 zsh -f /root/complete.zsh </dev/null"); got != want {
		t.Errorf("zsh: %q, want %q", got, want)
	}
}

// options are those of the three mounts.
func (p *packaged) options() string {
	return fmt.Sprintf("endpoint=%s,region=%s,timeout=%s,credentials_file=/etc/pailfs/credentials", p.store.Endpoint, p.store.Region, patience)
}

// A line of fstab, a mount by hand, and a service.
func (p *packaged) use(t *testing.T) {
	p.sh("install -m 0600 /root/keys /etc/pailfs/credentials")
	p.file("/etc/pailfs/config.yaml", 0o600, fmt.Sprintf("mounts:\n  box:\n    source: %s/box\n    mountpoint: /mnt/box\n    endpoint: %s\n"+
		"    region: %s\n    timeout: %s\n    durability: journal\n", p.bucket, p.store.Endpoint, p.store.Region, patience))
	p.sh(fmt.Sprintf("echo 's3://%s/tab /mnt/tab pailfs _netdev,noauto,%s 0 0' >>/etc/fstab", p.bucket, p.options()))
	p.sh("systemctl daemon-reload; mount /mnt/tab; systemctl enable --now pailfs@box")
	p.sh(fmt.Sprintf("mount -t pailfs -o %s s3://%s/hand /mnt/hand", p.options(), p.bucket))
	for _, name := range []string{"tab", "hand", "box"} {
		p.write("/mnt/"+name, "a", "b")
		p.sh(fmt.Sprintf("cat /mnt/%s/a; pailfs flush /mnt/%s", name, name))
		p.wantObjects(name, "a", "b")
	}
	p.sh("umount /mnt/tab")
	if _, err := p.try("mountpoint", "-q", "/mnt/tab"); err == nil {
		t.Error("/mnt/tab is mounted")
	}
}

// An upgrade keeps the configuration and every mount, and says which go on with the version before.
func (p *packaged) upgrade(t *testing.T) {
	p.sh("echo '# changed here' >>/etc/pailfs/config.yaml; md5sum /etc/pailfs/* >/root/sums")
	pid := p.show("pailfs@box", "MainPID")
	out := p.sh("dpkg -i " + p.deb2)
	if !strings.Contains(out, "  /mnt/box\n") || !strings.Contains(out, "  /mnt/hand\n") {
		t.Errorf("the upgrade says\n%s", out)
	}
	p.sh("md5sum -c --quiet /root/sums; pailfs version | grep -F 'pailfs " + secondVersion + " '")
	if got := p.show("pailfs@box", "MainPID"); got != pid {
		t.Errorf("the upgrade has restarted the mount: %s, %s", pid, got)
	}
	p.write("/mnt/box", "c")
	p.write("/mnt/hand", "c")
	if got := p.sh("pailfs flush /mnt/box /mnt/hand >/dev/null; pailfs status --json /mnt/box"); !strings.Contains(got, `"version": "`+firstVersion+`"`) {
		t.Errorf("%.400s", got)
	}
	p.wantObjects("box", "c")
	p.wantObjects("hand", "c")
	if got := p.sh("systemctl restart pailfs@box; pailfs status --json /mnt/box"); !strings.Contains(got, `"version": "`+secondVersion+`"`) {
		t.Errorf("%.400s", got)
	}
}

// A removal while the store is away: the service is stopped and what it could not store is kept and named; a mount that was made
// by hand goes on, although its program's file is gone.
func (p *packaged) remove(t *testing.T) {
	p.sh("cat /mnt/hand/a")
	p.writeAway("/mnt/box", "r1", "r2")
	out := p.sh("dpkg -r pailfs")
	for _, want := range []string{"stopping pailfs@box.service", "/var/lib/pailfs/mounts/mnt-box: not stored: files 2", "/var/lib/pailfs/mounts/mnt-hand: in use",
		"unmounted", "  /mnt/hand\n", "/etc/fstab still has"} {
		if !strings.Contains(out, want) {
			t.Errorf("the removal does not say %q:\n%s", want, out)
		}
	}
	if got := p.sh("ls -d /var/lib/pailfs/mounts/*"); got != "/var/lib/pailfs/mounts/mnt-box\n/var/lib/pailfs/mounts/mnt-hand\n" {
		t.Errorf("the state is now %s", got)
	}
	if got := p.sh("find /usr -xdev -name '*pailfs*'; ls /etc/pailfs"); got != "config.yaml\ncredentials\n" {
		t.Errorf("left is %s", got)
	}
	p.store.Start(p.whole)
	p.write("/mnt/hand", "d")
	p.sh("umount /mnt/hand")
	p.await("the process of /mnt/hand ends", bootTimeout, func() bool { _, err := p.try("sh", "-c", "grep -qs pailfs /proc/[0-9]*/comm"); return err != nil })
	p.wantObjects("hand", "d")
}

// A purge takes everything but what the store does not have, and the administrator's files.
func (p *packaged) purge(t *testing.T) {
	p.sh("mkdir -p /var/cache/pailfs/mounts")
	out := p.sh("dpkg -P pailfs")
	for _, want := range []string{"left alone", "  /var/lib/pailfs/mounts/mnt-box\n", "the files in /etc/pailfs"} {
		if !strings.Contains(out, want) {
			t.Errorf("the purge does not say %q:\n%s", want, out)
		}
	}
	p.sh("test ! -e /var/cache/pailfs")
	if got := p.sh("find /etc -name '*pailfs*'; dpkg-query -W pailfs 2>&1 || true"); got != "/etc/pailfs\ndpkg-query: no packages found matching pailfs\n" {
		t.Errorf("left is %s", got)
	}
}

// What a removal left is stored by the next installation's mount; then a purge leaves nothing.
func (p *packaged) installAgain(t *testing.T) {
	p.sh("dpkg -i " + p.deb2 + "; systemctl start pailfs@box; pailfs flush /mnt/box")
	p.wantObjects("box", "r1", "r2")
	// What was on its way when the store went may be in doubt for a minute.
	p.await("nothing is left", bootTimeout, func() bool {
		return p.sh("systemctl stop pailfs@box; pailfs left | tee /root/left; test ! -s /root/left || systemctl start pailfs@box") == ""
	})
	p.sh("rm -r /etc/pailfs; sed -i /pailfs/d /etc/fstab; systemctl daemon-reload")
	if out := p.sh("dpkg -P pailfs"); strings.Contains(out, "pailfs: ") {
		t.Errorf("the purge says\n%s", out)
	}
	p.nothingLeft()
}

// nothingLeft fails the test when there is more of pailfs than before the first installation.
func (p *packaged) nothingLeft() {
	p.t.Helper()
	// What man keeps of pages is man's.
	if got := p.sh("rm -rf /run/pailfs; find / -xdev -path /var/cache/man -prune -o -name '*pailfs*' -print | sort | comm -13 /root/before -"); got != "" {
		p.t.Errorf("left is %s", got)
	}
}

// The rpm has the same files; it is installed, verified and erased by rpm itself.
func (p *packaged) red(t *testing.T) {
	files := func(command string) []string {
		var all []string
		for f := range strings.Lines(p.sh(command)) {
			f = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(f, "."), "/\n"))
			if strings.Contains(f, "pailfs") && !strings.HasSuffix(f, "/copyright") {
				all = append(all, strings.Replace(f, "vendor-completions/_", "site-functions/_", 1))
			}
		}
		slices.Sort(all)
		return all
	}
	deb, rpm := files("dpkg-deb --fsys-tarfile "+p.deb1+" | tar -t"), files("rpm -qlp "+p.rpm)
	if !slices.Equal(deb, rpm) || len(rpm) < 20 {
		t.Errorf("the packages have different files:\n%s\n%s", deb, rpm)
	}
	if got := p.sh("rpm -qp --qf '%{VERSION} %{RELEASE} %{LICENSE}\\n' " + p.rpm + "; rpm -qp --requires " + p.rpm); !strings.HasPrefix(got, firstVersion+" 1 Apache-2.0\n") || !strings.Contains(got, "fuse3\n") {
		t.Error(got)
	}
	p.sh("mkdir /root/unpacked; cd /root/unpacked; rpm2cpio " + p.rpm + " | cpio -id --quiet --no-absolute-filenames; ./usr/bin/pailfs version; cd; rm -r /root/unpacked")
	// Debian's rpm knows nothing of Debian's packages.
	p.sh("rpm -i --nodeps " + p.rpm)
	if got := p.sh("rpm -V --nodeps pailfs; pailfs version"); !strings.HasPrefix(got, "pailfs "+firstVersion+" ") {
		t.Error(got)
	}
	p.sh("rpm -e pailfs")
	p.nothingLeft()
}

// The archive is unpacked as its INSTALL says.
func (p *packaged) tar(t *testing.T) {
	text := p.sh("tar -xOf " + p.tarball + " --wildcards '*/INSTALL'")
	var script []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			script = append(script, strings.TrimSpace(line))
		}
	}
	p.sh("find /usr/local | sort >/root/local; cd /root; " + strings.NewReplacer("VERSION", firstVersion, "ARCH", runtime.GOARCH).Replace(strings.Join(script, "\n")))
	if got := p.sh("pailfs version; systemd-analyze verify --man=yes pailfs@photos.service 2>&1; man -w mount.pailfs"); !strings.HasPrefix(got, "pailfs "+firstVersion+" ") ||
		!strings.HasSuffix(got, "/man/man8/mount.pailfs.8.gz\n") || strings.Count(got, "\n") != 2 {
		t.Error(got)
	}
	if got := p.sh("find /usr/local -newer /root/local ! -user root; find /usr/local -perm /022 ! -type l ! -type d -o -name '*pailfs' ! -user root"); got != "" {
		t.Errorf("not root's alone: %s", got)
	}
	p.sh("install -m 0600 -D /root/keys /etc/pailfs/credentials; mount -t pailfs -o " + p.options() + " s3://" + p.bucket + "/tar /mnt/hand")
	p.write("/mnt/hand", "t")
	p.sh("umount /mnt/hand")
	p.wantObjects("tar", "t")
}
