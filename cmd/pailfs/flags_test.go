package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// resolved resolves the table with values from the given sources.
func resolved(flags map[string]string, o string, env map[string]string) (*settings, error) {
	words, err := parseMountOptions([]string{o}, false)
	if err != nil {
		return nil, err
	}
	s, err := resolve("mount", options, sources{
		flag:   func(n string) (string, bool) { v, ok := flags[n]; return v, ok },
		words:  words.ours,
		getenv: func(n string) string { return env[n] },
	})
	if err == nil {
		s.MountWords = words.kernel
	}
	return s, err
}

func TestEveryOptionHasOneNameAndAGoodDefault(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]bool{}
	for _, o := range options {
		if !name.MatchString(o.name) || seen[o.name] {
			t.Errorf("%q: a bad or second name", o.name)
		}
		seen[o.name] = true
		if o.help == "" || strings.HasSuffix(o.help, ".") || !slices.Contains(groups, o.group) || o.set == nil {
			t.Errorf("%s: help, group or set is missing", o.name)
		}
		if _, kernel := kernelWords[o.key()]; kernel || leftWords[o.key()] || tableWords[o.key()] || labelWords[o.key()] {
			t.Errorf("%s is a word of mount(8) as well", o.name)
		}
		v, err := o.initial()
		if err != nil {
			t.Errorf("%s: %v", o.name, err)
			continue
		}
		if err := o.set(&settings{}, v); err != nil {
			t.Errorf("%s refuses its own default %q: %v", o.name, v, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	s, err := resolved(nil, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Provider != "auto" || s.Timeout != 2*time.Minute || s.MetadataTTL != 5*time.Second || s.PartSize != 8<<20 ||
		s.MaxRequests != 64 || s.WriteRate != 0 || !s.FullAttributes || s.FileMode != 0o644 || s.DirMode != 0o755 ||
		s.ReadOnly || s.AllowOther || s.Foreground || s.LogFormat != "text" ||
		s.Durability != durabilityStore || s.MaxLag != 30*time.Second || s.Verify != "auto" || s.StateDir == "" || s.Memory < leastMemory {
		t.Errorf("%+v", s)
	}
}

func TestPrecedence(t *testing.T) {
	flag := map[string]string{"region": "FLAG"}
	env := map[string]string{"PAILFS_REGION": "ENV"}
	for _, c := range []struct {
		flag map[string]string
		o    string
		env  map[string]string
		want string
	}{
		{nil, "", nil, ""},
		{nil, "", env, "ENV"},
		{nil, "region=O", env, "O"},
		{flag, "region=O", env, "FLAG"},
		{flag, "", env, "FLAG"},
		{nil, "region=O,region=P", nil, "P"},
		{nil, "", map[string]string{"PAILFS_REGION": ""}, ""}, // empty is not set
		{map[string]string{"region": ""}, "", env, ""},        // an empty flag is
	} {
		s, err := resolved(c.flag, c.o, c.env)
		if err != nil {
			t.Fatal(err)
		}
		if s.Region != c.want {
			t.Errorf("flag %v, -o %q, env %v: %q, want %q", c.flag, c.o, c.env, s.Region, c.want)
		}
	}
}

func TestWrongValuesNameTheirSource(t *testing.T) {
	for _, c := range []struct {
		flag map[string]string
		o    string
		env  map[string]string
		want string
	}{
		{map[string]string{"part-size": "1MiB"}, "", nil, "--part-size: 1MiB is not between 5 MiB and 5 GiB"},
		{nil, "part_size=1MiB", nil, "-o part_size: "},
		{nil, "", map[string]string{"PAILFS_PART_SIZE": "x"}, "PAILFS_PART_SIZE: "},
		{map[string]string{"attributes": "some"}, "", nil, "--attributes: "},
		{map[string]string{"read-only": "maybe"}, "", nil, "--read-only: "},
	} {
		_, err := resolved(c.flag, c.o, c.env)
		f := failureOf(err)
		if f.code != exitUsage || !strings.HasPrefix(f.message, c.want) || f.hint == "" {
			t.Errorf("%v %q %v: %+v", c.flag, c.o, c.env, f)
		}
	}
}

func TestSwitchesCanBeTurnedOff(t *testing.T) {
	s, err := resolved(map[string]string{"read-only": "false"}, "ro", nil)
	if err != nil || s.ReadOnly {
		t.Errorf("%+v %v", s, err)
	}
}

func TestStoreOptionsAreAPartOfTheTable(t *testing.T) {
	var names []string
	for _, o := range storeOptions() {
		names = append(names, o.name)
	}
	want := "[region endpoint provider profile credentials-file ca-file virtual-hosted anonymous timeout max-requests write-rate bandwidth config]"
	if got := fmt.Sprint(names); got != want {
		t.Errorf("%s", got)
	}
}
