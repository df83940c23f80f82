package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMountOptions(t *testing.T) {
	ours := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, c := range []struct {
		o      string
		ours   map[string]string
		kernel string
		left   string
	}{
		{"", ours(), "", ""},
		{"ro", ours("read-only", "true"), "", ""},
		{"ro,rw", ours("read-only", "false"), "", ""},
		{"nosuid,nodev,noexec", ours(), "nosuid nodev noexec", ""},
		{"nosuid,suid,nosuid,dev", ours(), "nosuid dev", ""}, // the last one counts
		{"defaults,_netdev,nofail,noauto,x-systemd.automount,x-foo=1,X-mount.mkdir,comment=a b,noatime", ours(), "",
			"defaults _netdev nofail noauto x-systemd.automount x-foo=1 X-mount.mkdir comment=a b noatime"},
		{"allow_other,default_permissions", ours("allow-other", "true"), "default_permissions", ""},
		{"allow-other", ours("allow-other", "true"), "", ""},
		{"metadata_ttl=9s,metadata-ttl=8s", ours("metadata-ttl", "8s"), "", ""},
		{`region=KR1,state_dir=/a\,b,,foreground`, ours("region", "KR1", "state-dir", "/a,b", "foreground", "true"), "", ""},
		{`state_dir="/a,b \"c\"",cache_dir=/d`, ours("state-dir", `/a,b "c"`, "cache-dir", "/d"), "", ""},
		{`"state_dir=/a,b"`, ours("state-dir", "/a,b"), "", ""},
		{"anonymous=false", ours("anonymous", "false"), "", ""},
		{"endpoint=http://h:1?x=y", ours("endpoint", "http://h:1?x=y"), "", ""},
		// What mount(8) makes of "user,exec", and what a line says itself.
		{"ro,nosuid,nodev,region=KR1,user=alice,_netdev,exec", ours("read-only", "true", "region", "KR1"), "noexec nosuid nodev exec", "user=alice _netdev"},
		{"users", ours(), "noexec nosuid nodev", "users"},
		{"owner,dev", ours(), "nosuid dev", "owner"},
		{`context="system_u:object_r:fuse_t:s0:c1,c2"`, ours(), `context="system_u:object_r:fuse_t:s0:c1,c2"`, ""},
		{"context=system_u:object_r:fuse_t:s0", ours(), "context=system_u:object_r:fuse_t:s0", ""},
		// A remount gives back what the mount table shows.
		{"remount,rw,nosuid,user_id=0,group_id=0,default_permissions,max_read=1048576", ours("read-only", "false"), "nosuid default_permissions", ""},
	} {
		w, err := parseMountOptions([]string{c.o}, false)
		if c.kernel == "noexec nosuid nodev exec" {
			c.kernel = "nosuid nodev exec"
		}
		if err != nil || !reflect.DeepEqual(w.ours, c.ours) || strings.Join(w.kernel, " ") != c.kernel || strings.Join(w.left, " ") != c.left {
			t.Errorf("%s: %+v %v", c.o, w, err)
		}
		if err == nil && w.remount != strings.Contains(c.o, "remount") {
			t.Errorf("%s: remount %v", c.o, w.remount)
		}
	}
}

func TestWrongMountOptions(t *testing.T) {
	for o, want := range map[string]string{
		"regoin=KR1":              "did you mean region?",
		"metadata_tll=5":          "did you mean metadata_ttl?",
		"nosuchthing":             "nosuchthing: unknown mount option",
		"region":                  "region needs a value",
		"ro=yes":                  "ro: unknown",
		"nosuid=1":                "nosuid: unknown",
		"o=x":                     "o: unknown",
		"nonempty":                "nonempty: unknown",
		"a\x00b":                  "NUL",
		`region="KR1`:             "quote",
		"secret_key=hunter2":      "secrets are not mount options",
		"aws_secret_access_key=x": "credentials_file=FILE",
		"passwd=hunter2":          "secrets are not mount options",
	} {
		_, err := parseMountOptions([]string{o}, false)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %q", o, err, want)
		}
	}
	w, err := parseMountOptions([]string{"regoin=KR1,ro"}, true)
	if err != nil || !slices.Equal(w.unknown, []string{"regoin"}) || w.ours["read-only"] != "true" {
		t.Errorf("sloppy: %+v %v", w, err)
	}
	if _, err := parseMountOptions([]string{"secret_key=x"}, true); err == nil {
		t.Error("sloppy passes a secret over")
	}
}

func TestSplitOptions(t *testing.T) {
	for in, want := range map[string][]string{
		"":              {""},
		"a":             {"a"},
		"a,b":           {"a", "b"},
		`a\,b,c`:        {"a,b", "c"},
		`a\\,b`:         {`a\`, "b"},
		`a\b`:           {`a\b`},
		`a\`:            {`a\`},
		`\,`:            {","},
		"a,,b,":         {"a", "", "b", ""},
		`x=\\\,y,z`:     {`x=\,y`, "z"},
		`a="b,c",d`:     {"a=b,c", "d"},
		`a=b",c,"d,e`:   {"a=b,c,d", "e"},
		`a=\"b,c\",d`:   {`a="b`, `c"`, "d"},
		`a="",b`:        {"a=", "b"},
		`a="x\"y,z",bb`: {`a=x"y,z`, "bb"},
	} {
		got, err := splitOptions(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
	}
}

// What is written from words that were read is read as the same words.
func TestMountOptionsComeBack(t *testing.T) {
	value := rapid.StringMatching(`[a-z0-9 ,="\\/.:#-]{0,12}`)
	var names []string
	for _, o := range options {
		if !o.isSwitch() {
			names = append(names, o.key(), o.name)
		}
	}
	plain := []string{"ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "user", "users", "owner", "group", "_netdev", "nofail",
		"noauto", "defaults", "foreground", "allow_other", "anonymous=false", "default_permissions", "remount", "x-systemd.automount", "user=alice", "user_id=0"}
	word := rapid.OneOf(rapid.SampledFrom(plain), rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom(append(names, "x-foo", "comment", "context")).Draw(t, "name") + "=" + value.Draw(t, "value")
	}))
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(word, 0, 8).Draw(t, "words")
		list := joinOptions(words)
		back, err := splitOptions(list)
		if err != nil || !slices.Equal(back, words) && len(words) > 0 {
			t.Fatalf("%q -> %q -> %q, %v", words, list, back, err)
		}
		once, err := parseMountOptions([]string{list}, false)
		if err != nil {
			t.Fatalf("%q: %v", list, err)
		}
		again, err := parseMountOptions([]string{once.String()}, false)
		if err != nil {
			t.Fatalf("%q, from %q: %v", once.String(), list, err)
		}
		slices.Sort(once.kernel)
		slices.Sort(again.kernel)
		if len(once.left) == 0 && len(again.left) == 0 { // a remount leaves words out
			once.left, again.left = nil, nil
		}
		if !reflect.DeepEqual(once, again) {
			t.Fatalf("%q -> %+v\n-> %q -> %+v", list, once, once.String(), again)
		}
	})
}

func FuzzSplitOptions(f *testing.F) {
	f.Add(`region=KR1,state_dir="/a,b",x=\"y\\`)
	f.Fuzz(func(t *testing.T, s string) {
		words, err := splitOptions(s)
		if err != nil {
			return
		}
		back, err := splitOptions(joinOptions(words))
		if err != nil || !slices.Equal(words, back) {
			t.Errorf("%q: %q, then %q %v", s, words, back, err)
		}
	})
}
