package tree

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pailfs/s3client"
)

// census is what a Census says of the rig's bucket: the keys by why, and what listings bring of them.
func (r *rig) census(prefix string) (unseen map[string]Why, as map[string]bool) {
	r.Helper()
	unseen, as = map[string]Why{}, map[string]bool{}
	c := NewCensus(prefix)
	for _, key := range r.mem.Keys(bkt) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		o, _ := r.mem.Object(bkt, key)
		for _, u := range c.Next(o) {
			if unseen[u.Key] != "" {
				r.Errorf("%q is told of twice", u.Key)
			}
			unseen[u.Key], as[u.As] = u.Why, true
		}
	}
	return unseen, as
}

// A census names what the listings of a mount hide, and nothing else: random keys of all kinds, walked by a real tree.
func TestACensusNamesWhatListingsHide(t *testing.T) {
	parts := []string{"a", "b", "a", "b", "", ".", "..", "a-", "a.b", "a0", strings.Repeat("l", 255), strings.Repeat("l", 256), "é", " "}
	total := map[Why]int{}
	for round := range 200 {
		random := rand.New(rand.NewPCG(uint64(round), 1))
		prefix := []string{"", "a/", "a/b/"}[round%3]
		r := newRig(t, Options{Bucket: bkt, Prefix: prefix})
		for range 1 + random.IntN(25) {
			var key []string
			for range 1 + random.IntN(4) {
				key = append(key, parts[random.IntN(len(parts))])
			}
			k := strings.Join(key, "/")
			if random.IntN(2) == 0 {
				k = prefix + k
			}
			if k != "" && len(k) <= maxKey {
				r.object(k, strings.Repeat("x", random.IntN(3)))
			}
		}
		unseen, as := r.census(prefix)
		if len(r.mem.Keys(bkt)) == 0 || !slices.ContainsFunc(r.mem.Keys(bkt), func(k string) bool { return strings.HasPrefix(k, prefix) }) {
			continue
		}
		shown := map[string]bool{}
		for _, p := range r.walkAll("") {
			_, key, err := r.tree.Locate(strings.TrimSuffix(p, "/"))
			r.ok(err)
			if strings.HasSuffix(p, "/") {
				key += "/"
			}
			shown[key] = true
		}
		hidden := map[string]bool{}
		for _, h := range r.tree.Hidden() {
			hidden[h.Key] = true
		}
		if !maps.Equal(hidden, as) {
			t.Errorf("round %d, prefix %q: %q\nthe mount hides %q\nthe census says %q", round, prefix, r.mem.Keys(bkt), sorted(hidden), sorted(as))
		}
		for _, key := range r.mem.Keys(bkt) {
			o, _ := r.mem.Object(bkt, key)
			inside := strings.HasPrefix(key, prefix)
			visible := shown[key] || key == prefix || o.Size == 0 && shown[key+"/"] // an empty object beside a directory says no more than the directory
			if why := unseen[key]; inside && (why == "") != visible && why != WhyContent && (why != WhyBlank || shown[key]) || !inside && why != "" {
				t.Errorf("round %d, prefix %q: %q is shown: %v; the census says %q", round, prefix, key, visible, why)
			}
			total[unseen[key]]++
		}
	}
	for _, why := range []Why{"", WhyEmpty, WhyDots, WhyLong, WhyShadowed, WhyContent} {
		if total[why] == 0 {
			t.Errorf("no key was hidden for %q", why)
		}
	}
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

// Each reason is given, and each key that is given out has one.
func TestReasonsOfACensus(t *testing.T) {
	long := strings.Repeat("k", 256)
	for key, want := range map[string]Why{
		"a": "", "a/b": "", "a/": "", "/": WhyEmpty, "/a": WhyEmpty, "a//b": WhyEmpty, ".": WhyDots, "a/../b": WhyDots, "a/.": WhyDots,
		long: WhyLong, "a/" + long + "/b": WhyLong, "a\x00b": WhyNUL, "a\xff": WhyUTF8, "bad\xed\xa0\x80": WhyUTF8,
		strings.Repeat("abc/", 256) + "d": WhyKeyLong, "a\x1b[2J": "", "%2F": "",
		" ": WhyBlank, "\u00a0\t": WhyBlank, " /": "", " / ": "", "a/ ": "", " a": "",
	} {
		got := NewCensus("").Next(s3client.Object{Key: key})
		if (want == "") != (len(got) == 0) || want != "" && (got[0].Why != want || got[0].Key != key) {
			t.Errorf("%q: %+v, want %q", key, got, want)
		}
		if err := checkPath(strings.TrimSuffix(key, "/")); want != WhyKeyLong && want != WhyBlank && key != "/" && (err != nil) != (want != "") {
			t.Errorf("%q: %v, and %q", key, err, want)
		}
	}
}

// An object that keys below it come for is told of when the first of these comes, however many keys stand between.
func TestACensusKeepsFewKeys(t *testing.T) {
	c := NewCensus("")
	told := 0
	next := func(key string) []Unseen {
		got := c.Next(s3client.Object{Key: key, Size: 1})
		told += len(got)
		return got
	}
	next("x")
	for i := range 100_000 {
		next(fmt.Sprintf("x-%06d", i))
		if len(c.open) > 2 {
			t.Fatalf("%d keys are kept", len(c.open))
		}
	}
	if told != 0 {
		t.Errorf("%d keys are hidden", told)
	}
	if got := next("x//y"); len(got) != 2 || got[0].Key != "x" || got[0].Why != WhyShadowed || got[1].Why != WhyEmpty {
		t.Errorf("%+v", got)
	}
	if next("x/z"); told != 2 || len(c.open) != 1 {
		t.Errorf("%d told, %d kept", told, len(c.open))
	}
}
