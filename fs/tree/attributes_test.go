package tree

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"pailfs/s3client"
)

var allTypes = []uint32{typeFifo, typeChar, typeDir, typeBlock, typeRegular, typeLink, typeSocket}

// Every type with every permission, written in every way, is read as what it is.
func TestModeIsNeverMisread(t *testing.T) {
	for _, kind := range allTypes {
		for perm := uint32(0); perm < 0o1000; perm++ {
			mode := kind | perm
			for _, s := range []string{fmt.Sprintf("%d", mode), fmt.Sprintf("%o", mode), fmt.Sprintf("0%o", mode), fmt.Sprintf("0x%x", mode)} {
				for _, slash := range []bool{false, true} {
					if slash && kind != typeDir {
						continue // only directories have such keys
					}
					if got, ok := parseMode(s, slash); !ok || got != mode {
						t.Fatalf("%s of %o (slash %v) is read as %o %v", s, mode, slash, got, ok)
					}
				}
			}
		}
	}
}

// With setuid, setgid and sticky, what this package writes for files, directories and links is read as written.
func TestSpecialBits(t *testing.T) {
	wrong := 0
	for _, kind := range []uint32{typeRegular, typeDir, typeLink, typeFifo, typeSocket, typeChar, typeBlock} {
		for perm := uint32(0o1000); perm <= permMask; perm++ {
			mode := kind | perm
			if got, _ := parseMode(strconv.Itoa(int(mode)), kind == typeDir); got != mode {
				wrong++
				if kind == typeRegular || kind == typeDir || kind == typeLink {
					t.Errorf("%d (%o) is read as %o", mode, mode, got)
				}
			}
		}
	}
	if wrong > 512 { // of 25,088: device nodes, pipes and sockets with these bits
		t.Errorf("%d misread", wrong)
	}
	for s, want := range map[string]uint32{"100664": 0o100664, "0100664": 0o100664, "33188": 0o100644, "41471": 0o120777,
		"16877": 0o40755, "40755": 0o40755, "644": 0o644, "0644": 0o644, "420": 0o420, "493": 493, "17407": 0o41777} {
		if got, ok := parseMode(s, false); !ok || got != want {
			t.Errorf("%s is read as %o %v", s, got, ok)
		}
	}
	if got, _ := parseMode("41777", true); got != 0o41777 {
		t.Errorf("a sticky directory in octal is read as %o", got)
	}
	for _, s := range []string{"", "x", "-1", "99999", "0o644", "12345678901", "200000"} {
		if got, ok := parseMode(s, false); ok {
			t.Errorf("%q is read as %o", s, got)
		}
	}
}

func TestTimes(t *testing.T) {
	for s, want := range map[string]time.Time{
		"1700000000":                time.Unix(1700000000, 0),
		"1700000000.5":              time.Unix(1700000000, 500000000),
		"1700000000.000000001":      time.Unix(1700000000, 1),
		"1700000000.1234567891":     time.Unix(1700000000, 123456789),
		"1700000000000000001ns":     time.Unix(1700000000, 1),
		"1700000000123ms":           time.Unix(1700000000, 123000000),
		"1700000000s":               time.Unix(1700000000, 0),
		"2023-11-14T22:13:20.25Z":   time.Unix(1700000000, 250000000),
		"2023-11-14T23:13:20+01:00": time.Unix(1700000000, 0),
		"-1.5":                      time.Unix(-1, -500000000),
		"0":                         time.Unix(0, 0),
	} {
		if got, ok := parseTime(s); !ok || !got.Equal(want) {
			t.Errorf("%s is read as %v %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "x", "1.x", "1.-5", "99999999999999", "1.1234567890x", "ns", "1e9"} {
		if got, ok := parseTime(s); ok {
			t.Errorf("%q is read as %v", s, got)
		}
	}
	for _, w := range []struct {
		t time.Time
		s string
	}{{time.Unix(5, 0), "5"}, {time.Unix(5, 7), "5.000000007"}, {time.Unix(-5, 7), "-5"}} {
		if s := formatTime(w.t); s != w.s {
			t.Errorf("%v is written %s", w.t, s)
		}
	}
}

func TestReadsEveryTool(t *testing.T) {
	type want struct {
		mode     uint32
		uid, gid int
		mtime    int64
		link     string
	}
	for name, c := range map[string]struct {
		key  string
		size int64
		h    s3client.Headers
		want want
	}{
		"s3fs": {"f", 5, s3client.Headers{Meta: map[string]string{"mode": "33188", "uid": "1", "gid": "2", "mtime": "7.5"}},
			want{0o100644, 1, 2, 7, ""}},
		"s3fs link":   {"f", 5, s3client.Headers{Meta: map[string]string{"mode": "41471"}}, want{0o120777, -1, -1, 0, ""}},
		"rclone":      {"f", 5, s3client.Headers{Meta: map[string]string{"mode": "100640", "mtime": "9.25"}}, want{0o100640, -1, -1, 9, ""}},
		"geesefs":     {"f", 0, s3client.Headers{Meta: map[string]string{"--symlink-target": "a%2Fb"}}, want{0o120777, -1, -1, 0, "a/b"}},
		"s3sync":      {"f", 5, s3client.Headers{Meta: map[string]string{"permissions": "0640", "owner": "3", "group": "4"}}, want{0o100640, 3, 4, 0, ""}},
		"gcs rsync":   {"f", 5, s3client.Headers{Meta: map[string]string{"goog-reserved-posix-mode": "750", "goog-reserved-posix-uid": "5", "goog-reserved-posix-gid": "6", "goog-reserved-file-mtime": "11"}}, want{0o100750, 5, 6, 11, ""}},
		"gcsfuse":     {"f", 5, s3client.Headers{Meta: map[string]string{"gcsfuse_mtime": "1970-01-01T00:00:12Z"}}, want{0o100644, -1, -1, 12, ""}},
		"gcsfuse ln":  {"f", 5, s3client.Headers{Meta: map[string]string{"goog-reserved-file-is-symlink": "true"}}, want{0o120777, -1, -1, 0, ""}},
		"gcsfuse old": {"f", 0, s3client.Headers{Meta: map[string]string{"gcsfuse_symlink_target": "x"}}, want{0o120777, -1, -1, 0, "x"}},
		"datasync":    {"f", 5, s3client.Headers{Meta: map[string]string{"file-permissions": "0100600", "file-owner": "7", "file-group": "8", "file-mtime": "13000000000ns"}}, want{0o100600, 7, 8, 13, ""}},
		"marker":      {"d/", 0, s3client.Headers{}, want{0o40755, -1, -1, 0, ""}},
		"marker mode": {"d/", 0, s3client.Headers{Meta: map[string]string{"mode": "16832"}}, want{0o40700, -1, -1, 0, ""}},
		"swift dir":   {"d", 0, s3client.Headers{ContentType: "application/directory"}, want{0o40755, -1, -1, 0, ""}},
		"s3fs dir":    {"d", 0, s3client.Headers{ContentType: "application/x-directory; charset=UTF-8"}, want{0o40755, -1, -1, 0, ""}},
		"httpd dir":   {"d", 0, s3client.Headers{ContentType: "httpd/unix-directory"}, want{0o40755, -1, -1, 0, ""}},
		"full dir":    {"d", 3, s3client.Headers{ContentType: "application/directory"}, want{0o100644, -1, -1, 0, ""}},
		"mode 0":      {"f", 3, s3client.Headers{Meta: map[string]string{"mode": "0"}}, want{0o100644, -1, -1, 0, ""}},
		"chmod 0":     {"f", 3, s3client.Headers{Meta: map[string]string{"mode": "32768"}}, want{0o100000, -1, -1, 0, ""}},
		"fifo":        {"f", 0, s3client.Headers{Meta: map[string]string{"mode": "4516"}}, want{0o010644, -1, -1, 0, ""}},
		"nothing":     {"f", 3, s3client.Headers{}, want{0o100644, -1, -1, 0, ""}},
	} {
		tr := New(Options{Bucket: "bkt", UID: 77, GID: 78})
		foreign := foreignHeaders(c.h)
		r := &remembered{ver: version{size: c.size}, attr: readAttributes(c.key, &c.h), foreign: &foreign}
		e := Entry{Key: c.key, UID: 77, GID: 78, Size: c.size}
		tr.apply(&e, c.key, r)
		uid, gid := uint32(77), uint32(78)
		if c.want.uid >= 0 {
			uid, gid = uint32(c.want.uid), uint32(c.want.gid)
		}
		if e.Mode != c.want.mode || e.UID != uid || e.GID != gid || !e.Full {
			t.Errorf("%s: %o %d %d", name, e.Mode, e.UID, e.GID)
		}
		if c.want.mtime != 0 && e.Mtime.Unix() != c.want.mtime {
			t.Errorf("%s: mtime %v", name, e.Mtime)
		}
		if c.want.link != "" && (r.attr.link == nil || *r.attr.link != c.want.link || e.Size != int64(len(c.want.link))) {
			t.Errorf("%s: link %v", name, r.attr.link)
		}
	}
}

func TestHeadersComeBack(t *testing.T) {
	foreign := &s3client.Headers{ContentType: "image/x", CacheControl: "no-cache", Meta: map[string]string{"owner": "9", "color": "red"}}
	for _, e := range []Entry{
		{Key: "f", Mode: 0o100640, UID: 1, GID: 2, Mtime: time.Unix(100, 5), Ctime: time.Unix(101, 0), Atime: time.Unix(102, 123456789)},
		{Key: "f", Mode: 0o120777, UID: 0, GID: 0, Mtime: time.Unix(100, 0)},
		{Key: "f", Mode: 0o020600, Rdev: 0x501, Mtime: time.Unix(100, 0)},
	} {
		h := buildHeaders(&e, foreign)
		if h.ContentType != "image/x" || h.CacheControl != "no-cache" || h.Meta["color"] != "red" {
			t.Errorf("lost: %+v", h)
		}
		if len(foreign.Meta) != 2 {
			t.Fatal("the foreign headers were changed")
		}
		a := readAttributes(e.Key, &h)
		if *a.mode != e.Mode || *a.uid != e.UID || *a.gid != e.GID || !a.mtime.Equal(e.Mtime) || !a.atime.Equal(e.Atime) && !e.Atime.IsZero() {
			t.Errorf("%+v is read as %+v", e, a)
		}
		if e.Rdev != 0 && *a.rdev != e.Rdev {
			t.Errorf("rdev %x", *a.rdev)
		}
		if !sameAttributes(&e, &h) {
			t.Error("not the same as itself")
		}
		back := foreignHeaders(h)
		if back.Meta["mode"] != "" || back.Meta["color"] != "red" || h.Meta["mode"] == "" {
			t.Errorf("foreign of built: %+v", back.Meta)
		}
	}
	if h := buildHeaders(&Entry{Key: "x.HTML", Mode: typeRegular}, nil); h.ContentType != "text/html; charset=utf-8" {
		t.Error(h.ContentType)
	}
	if h := buildHeaders(&Entry{Key: "x.tar.qqq", Mode: typeRegular}, nil); h.ContentType != "application/octet-stream" {
		t.Error(h.ContentType)
	}
	if h := buildHeaders(&Entry{Key: "x.html", Mode: typeDir}, nil); h.ContentType != dirContentType {
		t.Error(h.ContentType)
	}
}
