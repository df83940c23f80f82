package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pailfs/tests/storeproxy"
)

// All lines about one operation have its name: the one that says that it failed, and those of the requests that it caused, each with
// the store's id. It is so for a request of the kernel whose bytes the cache fetches, for a commit in the background, and for
// a change of a name.
func TestLinesOfAnOperationHaveItsName(t *testing.T) {
	d := newDesk(t)
	d.put("read", strings.Repeat("x", 4<<20))
	d.put("deleted", "x")
	p, err := storeproxy.Open(d.store.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	refused := map[storeproxy.Op]bool{storeproxy.Get: true, storeproxy.Put: true, storeproxy.Delete: true, storeproxy.DeleteMany: true}
	p.Meet(func(r storeproxy.Request) storeproxy.Fate {
		if refused[r.Op] {
			return storeproxy.Fate{Act: storeproxy.Refuse, Status: 403, Code: "AccessDenied"}
		}
		return storeproxy.Fate{}
	})
	d.env = append(d.env, "PAILFS_ENDPOINT="+p.Endpoint())
	d.mount("--durability", "journal", "--log-level", "debug", "--metadata-ttl", "1h")
	if b, err := os.ReadFile(d.mnt + "/read"); err == nil {
		t.Errorf("%d bytes were read", len(b))
	}
	if err := d.write("written", "hello"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(d.mnt + "/deleted"); err != nil {
		t.Error(err)
	}
	name := d.observed().LogFile
	awaitLog(t, name, "a file could not be stored in the background")
	awaitLog(t, name, "a change of a name is not stored yet")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	log := string(b)
	for failure, request := range map[string]string{
		`level=WARN msg="read failed" path=\S*read .* op=(f\w+)`:                              `msg=store call="GET Object" object=\S+/read attempt=1 status=403 .*op=`,
		`level=WARN msg="a file could not be stored [^"]*" file=\S+/written .* op=(c\w+)`:     `msg=store call="PUT Object" object=\S+/written attempt=1 status=403 .*op=`,
		`level=WARN msg="a change of a name is not stored yet" name=\S+/deleted .* op=(n\w+)`: `msg=store call="DELETE Object" object=\S+/deleted attempt=1 status=403 .*op=`,
	} {
		m := regexp.MustCompile(failure).FindStringSubmatch(log)
		if m == nil {
			t.Errorf("no line %s", failure)
			continue
		}
		if !regexp.MustCompile(request + m[1] + `\b`).MatchString(log) {
			t.Errorf("no line %s%s", request, m[1])
		}
	}
	if t.Failed() {
		t.Log(log)
	}
	p.Meet(nil)
	d.expect(0, nil, "flush", d.mnt)
	d.expect(0, nil, "umount", d.mnt)
}
