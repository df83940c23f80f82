// Package imports holds the walls between the rooms: which package may import which, and why each foreign module is
// here at all.
package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// product is where the rooms are, and forTests what lies there for tests alone.
var (
	product  = []string{"pailfs/cache/...", "pailfs/fs/...", "pailfs/s3client/...", "pailfs/cmd/pailfs/..."}
	forTests = []string{"pailfs/s3client/s3mem", "pailfs/s3client/s3fault", "pailfs/s3client/s3test", "pailfs/s3client/keystone/keystonetest"}
)

// rooms lists what each package of the product may import of ours. A new arrow is a decision: fs/README.md says why.
var rooms = map[string][]string{
	"pailfs/cache":              {},
	"pailfs/fs/journal":         {},
	"pailfs/s3client/outward":   {},
	"pailfs/s3client/keystone":  {"pailfs/s3client/outward"},
	"pailfs/s3client/keyfile":   {},
	"pailfs/s3client/latency":   {},
	"pailfs/s3client":           {"pailfs/s3client/latency", "pailfs/s3client/outward"},
	"pailfs/fs/upload":          {"pailfs/fs/journal", "pailfs/fs/opid", "pailfs/s3client"},
	"pailfs/fs/late":            {"pailfs/s3client"},
	"pailfs/fs/outbox":          {"pailfs/fs/opid", "pailfs/s3client"},
	"pailfs/fs/content":         {"pailfs/cache", "pailfs/fs/journal", "pailfs/fs/opid", "pailfs/fs/upload", "pailfs/s3client"},
	"pailfs/fs/tree":            {"pailfs/cache", "pailfs/s3client"},
	"pailfs/fs/ahead":           {},
	"pailfs/fs/lend":            {},
	"pailfs/fs/opid":            {},
	"pailfs/fs":                 {"pailfs/cache", "pailfs/fs/ahead", "pailfs/fs/content", "pailfs/fs/opid", "pailfs/fs/tree", "pailfs/s3client/latency", "pailfs/s3client"},
	"pailfs/fs/wired":           {"pailfs/cache", "pailfs/fs", "pailfs/fs/ahead", "pailfs/fs/content", "pailfs/fs/journal", "pailfs/fs/late", "pailfs/fs/opid", "pailfs/fs/outbox", "pailfs/fs/tree", "pailfs/fs/upload", "pailfs/s3client"},
	"pailfs/cmd/pailfs/metrics": {"pailfs/s3client/latency"},
	"pailfs/cmd/pailfs":         {"pailfs/cache", "pailfs/cmd/pailfs/metrics", "pailfs/fs", "pailfs/fs/content", "pailfs/fs/journal", "pailfs/fs/lend", "pailfs/fs/opid", "pailfs/fs/outbox", "pailfs/fs/tree", "pailfs/fs/upload", "pailfs/fs/wired", "pailfs/s3client", "pailfs/s3client/keyfile", "pailfs/s3client/keystone"},
}

// outside lists the same of programs that are no rooms, their tests included: they know the mount alone.
var outside = map[string][]string{
	"pailfs/tests/bench": {"pailfs/tests/bench/store"},
	"pailfs/tests/posix": {"pailfs/tests/testenv"},
}

type module struct {
	prefix string
	only   []string // packages; empty means anywhere
	reason string
}

// foreign lists the modules the product links, where each may be imported, and why it is here.
var foreign = []module{
	{"github.com/hanwen/go-fuse/v2", []string{"pailfs/fs"}, "the kernel's FUSE protocol"},
	{"github.com/minio/minio-go/v7", []string{"pailfs/s3client"}, "the S3 protocol: signatures, credentials, requests"},
	{"github.com/hashicorp/golang-lru/v2", []string{"pailfs/cache", "pailfs/fs", "pailfs/fs/ahead", "pailfs/fs/tree"}, "the order of eviction: blocks, what HEADs said of versions, directories read lately, numbers of renamed files"},
	{"github.com/urfave/cli/v2", []string{"pailfs/cmd/pailfs"}, "commands, flags, help"},
	{"go.yaml.in/yaml/v3", []string{"pailfs/cmd/pailfs", "pailfs/s3client/keystone"}, "configuration files, with the line of each value; clouds.yaml"},
	{"github.com/prometheus/client_golang", []string{"pailfs/cmd/pailfs/metrics"}, "what Prometheus reads, and what the runtime says of the process; 2 MB of the binary"},
	{"github.com/coreos/go-systemd/v22/daemon", []string{"pailfs/cmd/pailfs"}, "sd_notify(3): one file each for the message and the watchdog, and nothing but the standard library below them"},
	{"github.com/moby/sys/mountinfo", []string{"pailfs/fs", "pailfs/fs/lend", "pailfs/cmd/pailfs"}, "the mount table, with its escapes"},
	{"golang.org/x/sync", nil, "errgroup, semaphore, singleflight"},
	{"golang.org/x/sys", nil, "system calls the standard library lacks: fallocate, umount flags"},
	{"golang.org/x/term", []string{"pailfs/cmd/pailfs"}, "is this a terminal"},
	{"golang.org/x/time", []string{"pailfs/s3client"}, "the write rate"},
}

type pkg struct {
	ImportPath  string
	Imports     []string
	TestImports []string
	Standard    bool
}

func list(t *testing.T, patterns ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,TestImports,Standard"}, patterns...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// listRooms are the packages of the product, those for tests left out.
func listRooms(t *testing.T) []pkg {
	t.Helper()
	return slices.DeleteFunc(list(t, product...), func(p pkg) bool { return slices.Contains(forTests, p.ImportPath) })
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range listRooms(t) {
		allowed, known := rooms[p.ImportPath]
		if !known {
			t.Errorf("%s is a room nobody wrote down: add it to the table", p.ImportPath)
			continue
		}
		seen[p.ImportPath] = true
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, "pailfs/") && !slices.Contains(allowed, imported) {
				t.Errorf("%s imports %s: a wall stands there", p.ImportPath, imported)
			}
		}
		for _, arrow := range allowed {
			if !slices.Contains(p.Imports, arrow) {
				t.Errorf("%s may import %s and does not: take it out of the table", p.ImportPath, arrow)
			}
		}
	}
	for room := range rooms {
		if !seen[room] {
			t.Errorf("there is no room %s", room)
		}
	}
}

func TestWhatStandsOutsideKnowsNoRoom(t *testing.T) {
	for name, allowed := range outside {
		for _, p := range list(t, name) {
			for _, imported := range append(p.Imports, p.TestImports...) {
				if strings.HasPrefix(imported, "pailfs/") && !slices.Contains(allowed, imported) {
					t.Errorf("%s imports %s", name, imported)
				}
			}
		}
	}
}

func TestForeignModulesAreFewAndInTheirRooms(t *testing.T) {
	used := map[string][]string{} // prefix: packages
	for _, p := range listRooms(t) {
		for _, imported := range p.Imports {
			if !strings.Contains(strings.Split(imported, "/")[0], ".") {
				continue // the standard library
			}
			i := slices.IndexFunc(foreign, func(m module) bool {
				return imported == m.prefix || strings.HasPrefix(imported, m.prefix+"/")
			})
			if i < 0 {
				t.Errorf("%s imports %s, which is not in the table", p.ImportPath, imported)
				continue
			}
			m := foreign[i]
			used[m.prefix] = append(used[m.prefix], p.ImportPath)
			if len(m.only) > 0 && !slices.Contains(m.only, p.ImportPath) {
				t.Errorf("%s imports %s (%s), which belongs in %v", p.ImportPath, imported, m.reason, m.only)
			}
		}
	}
	for _, m := range foreign {
		if len(used[m.prefix]) == 0 {
			t.Errorf("nobody imports %s: take it out of the table", m.prefix)
		}
		for _, where := range m.only {
			if !slices.Contains(used[m.prefix], where) {
				t.Errorf("%s may import %s and does not: take it out of the table", where, m.prefix)
			}
		}
	}
}
