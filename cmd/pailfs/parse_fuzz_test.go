package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzMountOptions: words of -o, as mount(8), fstab and people write them. What is read is written so that it reads the same.
func FuzzMountOptions(f *testing.F) {
	for _, s := range []string{"region=KR1,ro", "rw,user_id=0,x-a=b", `context="a,b"`, `source=a\,b`, "secret_key=x", `"`, "remount,ro", "nosuid,suid,dev", "users,exec", "\x00", "uid=root,gid=0", "=", ",,", `\`, "allow_other=1"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, sloppy bool) {
		w, err := parseMountOptions([]string{s}, sloppy)
		if err != nil {
			return
		}
		again, err := parseMountOptions([]string{w.String()}, false)
		if err != nil {
			t.Fatalf("%q is written %q: %v", s, w.String(), err)
		}
		if again.String() != w.String() || len(again.ours) != len(w.ours) || !slices.Equal(again.kernel, w.kernel) || again.remount != w.remount {
			t.Errorf("%q is %q, and that %q", s, w.String(), again.String())
		}
		for _, word := range w.kernel {
			if strings.ContainsAny(word, "\x00") {
				t.Errorf("%q is for the kernel", word)
			}
		}
	})
}

// FuzzSecretWords: a word of -o that is refused as a secret, or not known, is not repeated with its value.
func FuzzSecretWords(f *testing.F) {
	for _, name := range []string{"secret_key", "secret-key", "aws_secret_access_key", "password", "passwd", "nonsense", "Secret_Key"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if o, known := optionNamed(options, name); known || strings.ContainsAny(name, `,"\=`) || o.name != "" || strings.Contains(name, "planted") {
			return
		}
		if _, err := parseMountOptions([]string{name + "=plantedvalue"}, false); err != nil && strings.Contains(err.Error(), "plantedvalue") {
			t.Error(err)
		}
	})
}

// FuzzFstabLine: a line that is read is written so that it reads the same.
func FuzzFstabLine(f *testing.F) {
	for _, s := range []string{"b /mnt pailfs ro 0 0", `b/a\040b /m\134 fuse.pailfs defaults`, "# x", "b /m pailfs x y", `b /m pailfs \0`, `b /m pailfs a\011b 0 0`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseFstab(s)
		if err != nil {
			return
		}
		again, err := parseFstab(l.String())
		if l.options == "" {
			l.options = "defaults"
		}
		if err != nil && !hidesAField(l) || err == nil && again != l {
			t.Errorf("%q is %+v, and that %+v %v", s, l, again, err)
		}
	})
}

// hidesAField says whether a field is one that fstab cannot hold: of other blanks than those with an escape, or begins a comment.
func hidesAField(l fstabLine) bool {
	for _, s := range []string{l.source, l.mountpoint, l.options} {
		if s == "" || len(strings.Fields(escapeField(s))) != 1 {
			return true
		}
	}
	return false
}

// FuzzConfig: any text is read to its end, and what is wrong in it is said without the keys.
func FuzzConfig(f *testing.F) {
	const planted = "plantedkey"
	for _, s := range []string{
		"options:\n  region: KR1\n  secret-key: SECRET\nmounts:\n  a:\n    source: b\n    mountpoint: /m\n    o: [ro, nosuid]\n", "options:\n  secret-key: *SECRET\n",
		"options:\n  secret-key: [SECRET]\n", "options:\n  secret-key: \"SECRET\n", "secret-key: SECRET\n", "options: SECRET\n", "a: &a [*a]\n", "options: &o {region: KR1}\nmounts: {x: *o}\n",
		"options:\n  session-token: {SECRET: x}\n", "options: {o: secret_key=SECRET}\n", "---\n---\n", "mounts: {\"a/b\": {mountpoint: x}}\n", "options: {access-key: SECRET, access_key: SECRET}\n",
	} {
		f.Add(strings.ReplaceAll(s, "SECRET", planted))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := parseConfig("/x/config.yaml", []byte(text))
		for _, p := range c.problems {
			told := oneLine(p.String()) + oneLine(p.Hint)
			// A name is no secret; where a key stands in the place of one, it is the name that is wrong.
			if strings.Contains(told, planted) && !namesPlanted(text, planted) {
				t.Errorf("%q: %s", text, told)
			}
		}
	})
}

// namesPlanted says whether the planted text stands where a name stands, or in an option that is no key.
func namesPlanted(text, planted string) bool {
	for line := range strings.Lines(text) {
		before, _, ok := strings.Cut(line, planted)
		if ok && !strings.Contains(before, "secret-key:") && !strings.Contains(before, "session-token:") && !strings.Contains(before, "access-key:") && !strings.Contains(before, "secret_key=") {
			return true
		}
		if _, after, ok := strings.Cut(line, planted); ok && strings.Contains(after, ":") {
			return true
		}
	}
	return false
}

// FuzzValues: sizes, times, rates, addresses, modes: each is within its bounds or refused.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"8MiB", "1.5GiB", "-1", "1e30", "9223372036854775807", "0x10", "90s", "forever", "1h30m", "NaN", "Inf", "0o644", "77777", ":9090", "unix:/x", "[::1]:1", "1MiB:0", "https://h", "https://u:p@h", "a:b", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseSize(s); err == nil && n < 0 {
			t.Errorf("%q is %d bytes", s, n)
		}
		for _, o := range options {
			if o.name == "uid" || o.name == "gid" { // which ask the host
				continue
			}
			var to settings
			if err := o.set(&to, s); err != nil {
				if o.name == "endpoint" && strings.Contains(s, "planted@") && strings.Contains(err.Error(), "planted") {
					t.Error(err)
				}
				continue
			}
			if to.Memory < 0 || to.CacheSize < -1 || to.CacheMinFree < 0 || to.PartSize < 0 || to.Timeout < 0 || to.MetadataTTL < 0 || to.MaxLag < 0 || to.MaxRequests < 0 ||
				to.WriteRate < 0 || to.Bandwidth.Up < 0 || to.Bandwidth.Down < 0 || to.FileMode > 0o7777 || to.DirMode > 0o7777 || to.FD < 0 {
				t.Errorf("%s=%q is %+v", o.name, s, to)
			}
		}
	})
}

// FuzzTarget: what is mounted is a bucket and a prefix that leads nowhere else.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"b", "b/p/q", "s3://b/p", "s3://", "b/../x", "b//x", "/b", "b/\x00", "b/./c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		bucket, prefix, err := parseTarget(s)
		if err != nil {
			return
		}
		if strings.Contains(bucket, "/") || prefix != "" && (!strings.HasSuffix(prefix, "/") || strings.HasPrefix(prefix, "/") || !filepath.IsLocal(strings.TrimSuffix(prefix, "/"))) {
			t.Errorf("%q is %q and %q", s, bucket, prefix)
		}
	})
}

// FuzzUtab: libmount's table, with lines of anybody: ours are found again and the others stay.
func FuzzUtab(f *testing.F) {
	f.Add("SRC=/dev/sda1 TARGET=/mnt ROOT=/ OPTS=_netdev\n", `b/a \b`, "/mnt/my data")
	f.Add("\n\nx", "b", "/m")
	f.Add("SRC=b TARGET=/m", "b\n", "/m\t")
	f.Fuzz(func(t *testing.T, table, source, mountpoint string) {
		if strings.ContainsAny(source+mountpoint, "\r\v\f\u0085\u00a0\u2028\u2029") || source == "" || mountpoint == "" || !utf8.ValidString(source+mountpoint) {
			return // strings.Fields parts there, and libmount does not
		}
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/utab", []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := noteUmountHelper(dir, source, mountpoint); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(dir + "/utab")
		if err != nil {
			t.Fatal(err)
		}
		ours := 0
		for line := range strings.Lines(string(b)) {
			if utabIs(strings.TrimSuffix(line, "\n"), source, mountpoint) {
				ours++
			}
		}
		if ours == 0 {
			t.Errorf("%q is not in %q", source, b)
		}
		if err := forgetMount(dir, source, mountpoint); err != nil {
			t.Fatal(err)
		}
		if b, err = os.ReadFile(dir + "/utab"); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if utabIs(strings.TrimSuffix(line, "\n"), source, mountpoint) {
				t.Errorf("%q is still there", line)
			}
		}
	})
}

// FuzzRuntimeFile: what users write into their directories is read by root as well.
func FuzzRuntimeFile(f *testing.F) {
	f.Add([]byte(`{"pid":1,"mountpoint":"/m","socket":"../x","state_dir":"/","result":{"code":8,"unsaved":[{"path":"\u001b[2J"}]}}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := t.TempDir() + "/x.json"
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := openView(path)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		s, err := v.Read()
		if err != nil {
			return
		}
		var b bytes.Buffer
		r := reportOf(s)
		if err := printReports(&b, []statusReport{r}, s.Started); err != nil {
			t.Fatal(err)
		}
		if err := printTable(&b, []statusReport{r, r}, s.Started); err != nil {
			t.Fatal(err)
		}
		if s.Result != nil {
			printUnsaved(&b, s.Result.Unsaved)
		}
		if err := printJSON(&b, r); err != nil {
			t.Fatal(err)
		}
		wantQuiet(t, b.String())
	})
}

// wantQuiet fails when a text does anything to a terminal but stand there.
func wantQuiet(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%q", text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && disturbs(r) }); i >= 0 {
		t.Errorf("%q stands in %q", text[i:min(len(text), i+8)], text[max(0, i-60):min(len(text), i+60)])
	}
}

// FuzzQuiet: names and words of anybody, in each of the ways they are shown.
func FuzzQuiet(f *testing.F) {
	for _, s := range []string{"a", "\x1b[2J", "a\nb", "\u009b2J", "\u202eabc", "\x9b", "\x00", "\u2028", "한글", "\x7f", "\ufeff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		wantQuiet(t, shown(s))
		if one := oneLine(s); strings.Contains(one, "\n") {
			t.Errorf("%q", one)
		} else {
			wantQuiet(t, one)
		}
		var b bytes.Buffer
		if err := printJSON(&b, map[string]string{s: s}); err != nil {
			t.Fatal(err)
		}
		wantQuiet(t, b.String())
		var back map[string]string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil {
			t.Errorf("%q is no JSON: %v", b.String(), err)
		}
		if utf8.ValidString(s) && back[s] != s {
			t.Errorf("%q came back as %q", s, back)
		}
		for _, format := range []string{"text", "json"} {
			b.Reset()
			log := newLog(&b, &settings{LogFormat: format})
			log.Warn("a line of "+s, "file", s, s, "x", "err", io.EOF, slog.Group("g", slog.String("k", s)))
			wantQuiet(t, b.String())
			if n := strings.Count(b.String(), "\n"); n != 1 {
				t.Errorf("%d lines: %q", n, b.String())
			}
		}
	})
}

// FuzzControlRequest: any request to a control socket is answered, and by JSON or a status.
func FuzzControlRequest(f *testing.F) {
	for _, r := range [][3]string{{"GET", "/status", ""}, {"POST", "/refresh", `{"path":"../x"}`}, {"POST", "/warm", `{"path":"/","jobs":-1}`}, {"POST", "/options", `{"options":{"log-level":"debug"}}`}, {"POST", "/flush", `{"path":"a","timeout":1e300}`}, {"GET", "/ready", ""}, {"DELETE", "/", "{"}} {
		f.Add(r[0], r[1], r[2])
	}
	c := &control{mount: quietMount(), serving: f.Context(), end: func() {}}
	routes := c.routes()
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if !slices.Contains([]string{"GET", "POST", "PUT", "DELETE", "HEAD"}, method) || !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' || r == '%' }) {
			return // net/http does not pass it on
		}
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set(headerProtocol, "1")
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, r)
		if w.Code < 200 || w.Code >= 500 && w.Code != 501 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: %d %q", method, path, w.Code, w.Body)
		}
	})
}

// quietMount does nothing that it is asked for.
func quietMount() *fakeMount {
	return &fakeMount{options: map[string]string{},
		refresh: func(context.Context, string) error { return nil },
		flush: func(context.Context, string, func(flushProgress)) (flushProgress, error) {
			return flushProgress{}, nil
		},
		warm: func(context.Context, string, int, func(warmProgress)) (warmProgress, error) {
			return warmProgress{}, nil
		}}
}
