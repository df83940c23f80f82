package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"pailfs/fs/tree"
	"pailfs/s3client"
)

// listing is a store that has only a bucket's listing: of any keys, those that no store takes as well.
type listing struct {
	keys []string // sorted; one that ends in "=0" is empty, the others have a byte
	page int
}

func (l listing) size(key string) int {
	if strings.HasSuffix(key, "=0") || strings.HasSuffix(key, "=0/") {
		return 0
	}
	return 1
}

func (l listing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.URL.Path != "/bucket/" || !q.Has("list-type") {
		refusing(404, "NoSuchBucket", "")(w, r)
		return
	}
	prefix, delimiter, after := q.Get("prefix"), q.Get("delimiter"), q.Get("start-after")
	most := l.page
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
		most = min(n, most)
	}
	var b strings.Builder
	n, last, truncated := 0, "", false
	for _, key := range l.keys[sort.Search(len(l.keys), func(i int) bool { return l.keys[i] > after }):] {
		if !strings.HasPrefix(key, prefix) || last != "" && strings.HasPrefix(key, last) {
			continue
		}
		if truncated = n == most; truncated {
			break
		}
		n++
		if i := strings.Index(key[len(prefix):], "/"); i >= 0 && delimiter != "" {
			last = key[:len(prefix)+i+1]
			fmt.Fprintf(&b, "<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>", escaped(last))
			continue
		}
		fmt.Fprintf(&b, `<Contents><Key>%s</Key><Size>%d</Size><ETag>"0123456789abcdef0123456789abcdef"</ETag><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>`, escaped(key), l.size(key))
	}
	fmt.Fprintf(w, "<ListBucketResult><EncodingType>url</EncodingType><KeyCount>%d</KeyCount><IsTruncated>%v</IsTruncated>%s</ListBucketResult>", n, truncated, b.String())
}

func escaped(key string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(url.QueryEscape(key))); err != nil {
		panic(err)
	}
	return b.String()
}

// oddKeys are keys of every kind; those that are paths stand first.
func oddKeys() (paths, others []string) {
	long := strings.Repeat("l", 255)
	paths = []string{"plain", "dir/a", "dir/b/c", "in dir/é", "nfc/é", "nfd/e\u0301", "a%2Fb", "a+b", "a b", "esc\x1b[31mred", "tab\t", "nl\nx", "\u202eabc", "...", ".hidden",
		long, "deep/" + strings.Repeat(long+"/", 3) + strings.Repeat("k", 250), "beside-x", "beside.txt", "empty=0", "marker=0/"}
	others = []string{"/", "/lead", "//", "//x", "a//b", "a//", "a///b", ".", "..", "./x", "../x", "a/./b", "a/../b", "a/.", "a/..", "a/b/../../c",
		long + "l", "w/" + long + "l/x", "nul\x00x", "n/\x00", "bad\xffutf8", "bad\xed\xa0\x80surrogate", "u/\xc3", "beside", "filled/",
		"shadow/only-odd", strings.Repeat("long/", 205) + "k"}
	return paths, append(others[:len(others):len(others)], "beside/x", "shadow/only-odd//x")
}

// What doctor lists is what a real tree hides, over the wire, page by page; what it does not list, the tree shows.
func TestDoctorListsWhatAMountHides(t *testing.T) {
	withKeys(t)
	paths, others := oddKeys()
	keys := slices.Concat(paths, others)
	slices.Sort(keys)
	for _, page := range []int{3, 1000} {
		for _, prefix := range []string{"", "dir/", "a/"} {
			srv := newAnswers(t, listing{keys, page}.ServeHTTP)
			t.Setenv("PAILFS_ENDPOINT", srv.URL)
			hidden := doctorHides(t, prefix)
			shown, by := walked(t, srv.URL, prefix)
			for _, key := range keys {
				inside := strings.HasPrefix(key, prefix) && key != prefix
				if inside && shown[key] == hidden[key] && key != "filled/" { // of which the mount shows the directory, but no bytes
					t.Errorf("page %d, prefix %q: %q is shown by the mount: %v, and listed by doctor: %v", page, prefix, key, shown[key], hidden[key])
				}
				if hidden[key] != by(key) {
					t.Errorf("page %d, prefix %q: %q is listed by doctor: %v, and hidden by the mount: %v", page, prefix, key, hidden[key], by(key))
				}
			}
			if prefix == "" && len(hidden) != len(others)-1 || prefix != "" && len(hidden) >= len(others)-1 { // beside/x is a path
				t.Errorf("page %d, prefix %q: %d are listed: %q", page, prefix, len(hidden), slices.Sorted(maps.Keys(hidden)))
			}
		}
	}
}

// doctorHides runs the command and gives the keys that it lists.
func doctorHides(t *testing.T, prefix string) map[string]bool {
	t.Helper()
	stdout, stderr, code := output(t, "doctor", "--keys", "--json", strings.TrimSuffix("bucket/"+prefix, "/"))
	var got struct {
		Objects []unseen
		Counts  map[tree.Why]int64
		Hidden  int  `json:"not_shown"`
		Whole   bool `json:"complete"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitOK || stderr != "" || !got.Whole || got.Hidden != len(got.Objects) {
		t.Fatalf("code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	hidden, counts := map[string]bool{}, map[tree.Why]int64{}
	for _, u := range got.Objects {
		key := u.Key
		if u.Bytes != "" {
			b, err := base64.StdEncoding.DecodeString(u.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			key = string(b)
		}
		if hidden[key] || u.Text == "" {
			t.Errorf("%q: %+v", key, u)
		}
		hidden[key] = true
		counts[u.Why]++
	}
	if !maps.Equal(counts, got.Counts) {
		t.Errorf("%v, counted %v", counts, got.Counts)
	}
	return hidden
}

// walked goes through a real tree. It gives the keys that a path reaches, and whether the tree counts a key as hidden.
func walked(t *testing.T, endpoint, prefix string) (shown map[string]bool, hides func(key string) bool) {
	t.Helper()
	store, err := s3client.Open(s3client.Config{Endpoint: endpoint, Region: "KR1"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	names := tree.New(tree.Options{Store: store, Bucket: "bucket", Prefix: prefix})
	defer names.Close()
	shown = map[string]bool{}
	var walk func(dir string)
	walk = func(dir string) {
		for e, err := range names.List(t.Context(), dir) {
			if err != nil {
				t.Fatal(err)
			}
			if e.IsDir() {
				shown[e.Key+"/"] = true
				walk(e.Path)
			} else {
				shown[e.Key] = true
			}
		}
	}
	walk("")
	hidden := names.Hidden()
	return shown, func(key string) bool {
		return slices.ContainsFunc(hidden, func(h tree.Hidden) bool {
			return h.Key == key || h.Why == "name" && strings.HasSuffix(h.Key, "/") && strings.HasPrefix(key, h.Key)
		})
	}
}

// On a terminal no key can do more than be read, and each has one line.
func TestDoctorPrintsKeysThatCannotHarm(t *testing.T) {
	withKeys(t)
	keys := []string{"a//\x1b[2Jgone", "b//nl\nx", "c//\u202egnp.exe", "d//\xff", "plain"}
	srv := newAnswers(t, listing{keys, 2}.ServeHTTP)
	stdout, stderr, code := output(t, "doctor", "--keys", "bucket", "--endpoint", srv.URL)
	want := []string{"empty component", "", "4 of 5 objects not shown by a mount:", "4  empty component"}
	if code != exitOK || stderr != "" || strings.Count(stdout, "\n") != 4+3 || strings.ContainsAny(stdout, "\x1b\u202e") || strings.Contains(stdout, "\xff") {
		t.Errorf("code %d\n%q\n%s", code, stdout, stderr)
	}
	for _, w := range append(want, `"a//\x1b[2Jgone"`, `"b//nl\nx"`, `"c//\u202egnp.exe"`, `"d//\xff"`) {
		if !strings.Contains(stdout, w) {
			t.Errorf("%q is missing in %q", w, stdout)
		}
	}
	srv = newAnswers(t, listing{[]string{"plain"}, 2}.ServeHTTP)
	if stdout, _, code = output(t, "doctor", "--keys", "bucket", "--endpoint", srv.URL); code != exitOK || stdout != "1 object, all shown by a mount\n" {
		t.Errorf("code %d %q", code, stdout)
	}
}

// A listing that breaks off says so, and what it found before.
func TestDoctorKeysOfAStoreThatEnds(t *testing.T) {
	withKeys(t)
	l := listing{[]string{"a//b", "c", "d"}, 1}
	srv := newAnswers(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("start-after") == "c" {
			refusing(403, "AccessDenied", "")(w, r)
			return
		}
		l.ServeHTTP(w, r)
	})
	stdout, stderr, code := output(t, "doctor", "--keys", "bucket", "--endpoint", srv.URL)
	if code != exitDenied || !strings.Contains(stdout, "a//b") || strings.Contains(stdout, "not shown") || !strings.Contains(stderr, "(after 2 objects)") {
		t.Errorf("code %d\n%s%s", code, stdout, stderr)
	}
	stdout, _, code = output(t, "doctor", "--keys", "--json", "bucket", "--endpoint", srv.URL)
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitDenied || got["complete"] != false || got["keys"] != 2.0 {
		t.Errorf("code %d %v %s", code, err, stdout)
	}
	if _, stderr, code = output(t, "doctor", "--keys", "other", "--endpoint", srv.URL); code != exitNotFound || !strings.Contains(stderr, "no bucket other") {
		t.Errorf("code %d %s", code, stderr)
	}
}

// A large bucket costs a LIST for each page and is not kept.
func TestDoctorKeysStream(t *testing.T) {
	withKeys(t)
	var keys []string
	for i := range 20_000 {
		keys = append(keys, fmt.Sprintf("k%06d", i))
	}
	keys[10_500] = "k010499//x"
	srv := newAnswers(t, listing{keys, 1000}.ServeHTTP)
	stdout, _, code := output(t, "doctor", "--keys", "bucket", "--endpoint", srv.URL)
	if code != exitOK || len(srv.asked()) != 20 || !strings.Contains(stdout, "2 of 20000 objects") { // the key and what it is in the place of
		t.Errorf("code %d, %d asked\n%s", code, len(srv.asked()), stdout)
	}
	// Without --keys ten pages are looked at, and said to be.
	d := newTestDoctor(t, srv.URL)
	d.bucket = "bucket"
	store, _, about, err := openStore("doctor", "check it", "bucket", d.s)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	before := len(srv.asked())
	d.sampleKeys(t.Context(), store, about)
	if f := d.report.Findings[0]; f.State != isOK || !strings.Contains(f.Says, "the first 10000 objects are all shown by a mount; --keys") || len(srv.asked())-before != 10 {
		t.Errorf("%+v, %d asked", f, len(srv.asked())-before)
	}
}

func TestEveryReasonHasWords(t *testing.T) {
	for _, why := range tree.Whys {
		if whyTexts[why] == "" || len(whyTexts[why]) > 25 {
			t.Errorf("%q: %q", why, whyTexts[why])
		}
	}
	if len(whyTexts) != len(tree.Whys) {
		t.Errorf("%d texts, %d reasons", len(whyTexts), len(tree.Whys))
	}
}
