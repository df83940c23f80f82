package s3client

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// deleter is a store that deletes; answer may say something else of a key.
type deleter struct {
	t      *testing.T
	answer func(key string) string // "" deleted, "-" not reported, else a code
	mu     struct {
		sync.Mutex
		batches, singles [][]string
	}
}

func (d *deleter) serve(w http.ResponseWriter, r *http.Request, _ int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Method == http.MethodDelete {
		d.mu.singles = append(d.mu.singles, []string{strings.TrimPrefix(r.URL.Path, "/bucket/")})
		w.WriteHeader(204)
		return
	}
	body, _ := io.ReadAll(r.Body)
	sum := md5.Sum(body)
	if r.Header.Get("Content-Md5") != base64.StdEncoding.EncodeToString(sum[:]) {
		d.t.Error("Content-MD5 is wrong or missing")
	}
	var doc struct {
		Object []struct{ Key string }
	}
	if err := xml.Unmarshal(body, &doc); err != nil {
		d.t.Error(err)
	}
	var batch []string
	io.WriteString(w, "<DeleteResult>")
	for _, o := range doc.Object {
		batch = append(batch, o.Key)
		code := ""
		if d.answer != nil {
			code = d.answer(o.Key)
		}
		var key strings.Builder
		xml.EscapeText(&key, []byte(o.Key))
		switch code {
		case "-":
		case "":
			fmt.Fprintf(w, "<Deleted><Key>%s</Key></Deleted>", key.String())
		default:
			fmt.Fprintf(w, "<Error><Key>%s</Key><Code>%s</Code><Message>m</Message></Error>", key.String(), code)
		}
	}
	io.WriteString(w, "</DeleteResult>")
	d.mu.batches = append(d.mu.batches, batch)
}

func TestDeleteMany(t *testing.T) {
	d := &deleter{t: t}
	c, _ := serve(t, d.serve, func(cfg *Config) { cfg.Provider = "generic" })
	var keys []string
	for i := range 250 {
		keys = append(keys, fmt.Sprintf("k%03d", i))
	}
	odd := []string{"a\x07b", "a\rb", "a\nb", "<&>\"'", "\ufffe", " ", "한글"}
	bad, err := c.DeleteMany(t.Context(), "bucket", append(slices.Clone(keys), odd...))
	if err != nil || len(bad) != 0 {
		t.Fatal(bad, err)
	}
	if len(d.mu.batches) != 3 || len(d.mu.batches[0]) != 100 || len(d.mu.batches[2]) != 55 || len(d.mu.singles) != 2 {
		t.Fatalf("%d batches, singles %q", len(d.mu.batches), d.mu.singles)
	}
	sent := slices.Concat(slices.Concat(d.mu.batches...), slices.Concat(d.mu.singles...))
	all := append(slices.Clone(keys), odd...)
	slices.Sort(sent)
	slices.Sort(all)
	if !slices.Equal(sent, all) {
		t.Errorf("sent %q", sent)
	}
	if got := c.Counters().Snapshot(); got.Post != 3 || got.Delete != 2 || got.Total() != 5 {
		t.Errorf("%+v", got)
	}
	if bad, err := c.DeleteMany(t.Context(), "bucket", nil); bad != nil || err != nil {
		t.Error("nothing to delete:", bad, err)
	}
}

func TestDeleteManyWithErrors(t *testing.T) {
	d := &deleter{t: t, answer: func(key string) string {
		return map[string]string{"locked": "AccessDenied", "odd": "InvalidArgument", "gone": "NoSuchKey", "busy": "SlowDown",
			"broken": "InternalError", "left-out": "-"}[key]
	}}
	c, _ := serve(t, d.serve)
	bad, err := c.DeleteMany(t.Context(), "bucket", []string{"fine", "locked", "odd", "gone", "busy", "broken", "left-out"})
	noError(t, err)
	if len(bad) != 2 || bad[0].Key != "locked" || bad[1].Key != "odd" {
		t.Fatalf("%+v", bad)
	}
	want(t, "locked", bad[0].Err, Denied, "AccessDenied")
	want(t, "odd", bad[1].Err, Invalid, "InvalidArgument")
	if got := slices.Concat(d.mu.singles...); !slices.Equal(got, []string{"busy", "broken", "left-out"}) {
		t.Errorf("singly %q", got)
	}
}

func TestDeleteManyFails(t *testing.T) {
	c, _ := serve(t, say(404, "NoSuchBucket"))
	_, err := c.DeleteMany(t.Context(), "bucket", []string{"a"})
	want(t, "no bucket", err, NotFound, "NoSuchBucket")
	c, _ = serve(t, says200(errorDoc("MalformedXML")))
	_, err = c.DeleteMany(t.Context(), "bucket", []string{"a"})
	want(t, "error in a 200", err, Invalid, "MalformedXML")
}

func TestDelete(t *testing.T) {
	for status, ok := range map[int]bool{204: true, 200: true} {
		c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(status) })
		if err := c.Delete(t.Context(), "bucket", "k"); (err == nil) != ok {
			t.Errorf("%d: %v", status, err)
		}
		if err := c.DeleteBucket(t.Context(), "bucket"); (err == nil) != ok {
			t.Errorf("%d: %v", status, err)
		}
	}
	c, _ := serve(t, say(404, "NoSuchKey"))
	noError(t, c.Delete(t.Context(), "bucket", "k"))
	c, _ = serve(t, say(404, "NoSuchBucket"))
	want(t, "no bucket", c.Delete(t.Context(), "bucket", "k"), NotFound, "NoSuchBucket")
}
