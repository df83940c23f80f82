package s3mem_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// TestListModel holds listings, in pages of any size and after any history, against a sorted set of keys.
func TestListModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := s3mem.New(s3mem.WithBuckets("b"))
		there := make(map[string]bool)
		key := rapid.StringMatching(`[ab/-]{1,4}`)
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			k := key.Draw(t, "key")
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				s.Remove("b", k)
				delete(there, k)
			case 1:
				checkListing(t, s, there)
			default:
				s.PutBytes("b", k, []byte(k), s3client.Headers{})
				there[k] = true
			}
		}
		checkListing(t, s, there)
	})
}

func checkListing(t *rapid.T, s *s3mem.Store, there map[string]bool) {
	req := s3client.ListRequest{Bucket: "b", Prefix: rapid.StringMatching(`[ab/]{0,2}`).Draw(t, "prefix"),
		Delimiter: rapid.SampledFrom([]string{"", "/"}).Draw(t, "delimiter"), Max: rapid.IntRange(0, 4).Draw(t, "max")}
	want := make(map[string]bool)
	for k := range there {
		rest, ok := strings.CutPrefix(k, req.Prefix)
		if !ok {
			continue
		}
		if i := strings.Index(rest, "/"); req.Delimiter != "" && i >= 0 {
			k = req.Prefix + rest[:i+1] + " (prefix)"
		}
		want[k] = true
	}
	var got []string
	for pages := 0; ; pages++ {
		page, err := s.List(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		n := len(got)
		for _, o := range page.Objects {
			got = append(got, o.Key)
		}
		for _, p := range page.Prefixes {
			got = append(got, p+" (prefix)")
		}
		if n = len(got) - n; req.Max > 0 && n > req.Max || n == 0 && page.Next != "" || pages > 100 {
			t.Fatalf("page %d has %d names, next %q", pages, n, page.Next)
		}
		if req.After = page.Next; req.After == "" {
			break
		}
	}
	slices.Sort(got)
	all := make([]string, 0, len(want))
	for k := range want {
		all = append(all, k)
	}
	slices.Sort(all)
	if !slices.Equal(got, all) {
		t.Fatalf("%+v of %v:\n got %q\nwant %q", req, there, got, all)
	}
}

// BenchmarkList is a walk through a large bucket that is being written to.
func BenchmarkList(b *testing.B) {
	s := s3mem.New()
	for i := range 100_000 {
		s.PutComputed("b", fmt.Sprintf("dir%03d/%06d", i%300, i), 1000, "v")
	}
	for i := 0; b.Loop(); i++ {
		s.PutComputed("b", fmt.Sprintf("new/%06d", i), 1000, "v")
		if _, err := s.List(b.Context(), s3client.ListRequest{Bucket: "b", Delimiter: "/", Prefix: "dir007/"}); err != nil {
			b.Fatal(err)
		}
	}
}
