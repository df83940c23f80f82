package tree

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pailfs/s3client"
)

func TestXAttrNamesAndValues(t *testing.T) {
	for _, c := range []struct{ name, meta, lost string }{
		{"plain", "plain", "plain"},
		{"with.dot-and-hyphen", "with.dot-and-hyphen", "with.dot-and-hyphen"},
		{"under_score", "under_score", "under%5fscore"},
		{"Upper", "%55pper", "%55pper"},
		{"mode", "%6dode", "%6dode"},
		{"xattr", "%78attr", "%78attr"},
		{"hdi_isfolder", "%68di_isfolder", "%68di%5fisfolder"},
		{"100%", "100%25", "100%25"},
		{"é", "%c3%a9", "%c3%a9"},
		{"a b:c", "a%20b%3ac", "a%20b%3ac"},
	} {
		if got := encodeName(c.name, false); got != c.meta {
			t.Errorf("%q is written as %q, want %q", c.name, got, c.meta)
		}
		if got := encodeName(c.name, true); got != c.lost {
			t.Errorf("%q is written as %q where underscores are lost, want %q", c.name, got, c.lost)
		}
	}
	for _, name := range takenMeta {
		if got, ok := decodeName(name); ok {
			t.Errorf("%q is the attribute %q", name, got)
		}
	}
	for value, want := range map[string]string{"": "", "text": "text", "100%": "100%", "%41": "%2541", " a b ": "%20a b%20", "a\tb": "a%09b",
		"\xff": "%FF", "%zz": "%zz", "ä%": "%C3%A4%25"} {
		if got := encodeValue(value); got != want {
			t.Errorf("%q is written as %q, want %q", value, got, want)
		}
	}
}

// Whatever name and value an attribute has, headers can hold it, and it is read as it was set.
func TestXAttrsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.SampledFrom(takenMeta), rapid.StringN(1, 40, 80)).Filter(func(s string) bool {
			return s != "" && !strings.ContainsRune(s, 0)
		}).Draw(t, "name")
		value := string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "value"))
		lost := rapid.Bool().Draw(t, "lost")
		before := map[string]string{"other": "stays", "mode": "33188", "xattr": "%7B%22user.x%22:%22MQ==%22%7D"}
		meta, err := (&XAttr{Name: name, Value: value}).apply(before, lost)
		if err != nil {
			t.Fatal(err)
		}
		for n, v := range meta {
			if n != strings.ToLower(n) || strings.Trim(n, "abcdefghijklmnopqrstuvwxyz0123456789.-_%") != "" || strings.TrimSpace(v) != v ||
				strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("the header %q: %q", n, v)
			}
		}
		if got, ok := readXAttrs(meta)[name]; !ok || got != value {
			t.Fatalf("%q is read from %v, want %q", got, meta, value)
		}
		if meta["mode"] != "33188" {
			t.Fatalf("the mode is %q", meta["mode"])
		}
		without, err := (&XAttr{Name: name, Remove: true}).apply(meta, lost)
		if err != nil {
			t.Fatal(err)
		}
		want := readXAttrs(before)
		delete(want, name)
		if got := readXAttrs(without); !maps.Equal(got, want) {
			t.Fatalf("after the removal %v, want %v", got, want)
		}
	})
}

func TestXAttrConditions(t *testing.T) {
	meta := map[string]string{"there": "1"}
	for _, c := range []struct {
		x    XAttr
		want error
	}{
		{XAttr{Name: "there", Create: true}, ErrExists},
		{XAttr{Name: "there", Replace: true}, nil},
		{XAttr{Name: "new", Create: true}, nil},
		{XAttr{Name: "new", Replace: true}, ErrNoAttribute},
		{XAttr{Name: "new", Remove: true}, ErrNoAttribute},
		{XAttr{Name: "there", Remove: true}, nil},
	} {
		if _, err := c.x.apply(meta, false); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.x, err, c.want)
		}
	}
	if meta["there"] != "1" || len(meta) != 1 {
		t.Errorf("the metadata that was given is changed: %v", meta)
	}
}

func TestKeptHeadersComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		k := kept{class: text.Draw(t, "class"), headers: s3client.Headers{ContentType: text.Draw(t, "type"), Expires: text.Draw(t, "expires"),
			Meta: rapid.MapOf(text, text).Draw(t, "meta")}}
		k.ver = version{etag: text.Draw(t, "etag"), size: rapid.Int64Min(0).Draw(t, "size"),
			modified: time.Unix(rapid.Int64Range(-1e9, 1e11).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nano"))}
		p := encodeKept(&k)
		got, ok := decodeKept(p)
		if !ok || got.class != k.class || got.ver.etag != k.ver.etag || got.ver.size != k.ver.size || !got.ver.modified.Equal(k.ver.modified) ||
			!maps.Equal(got.headers.Meta, k.headers.Meta) || got.headers.ContentType != k.headers.ContentType || got.headers.Expires != k.headers.Expires {
			t.Fatalf("%+v became %+v", k, got)
		}
		for i := range p { // what is cut short is nothing, or less; never a panic
			decodeKept(p[:i])
		}
	})
}
