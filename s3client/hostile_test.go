package s3client

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A store that means harm, or a machine that says it is one: whatever it answers, a call ends with an error or with what was asked
// for, within its time, and takes no more memory than the bounds say.

// A name of elsewhere would be shown, read and deleted where it is not.
func TestListingsOfElsewhere(t *testing.T) {
	const object, prefix = `<Contents><Key>%s</Key><Size>1</Size></Contents>`, `<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>`
	for name, c := range map[string]struct {
		what, key string
		ok        bool
	}{
		"an object": {object, "d/a", true}, "of a neighbour": {object, "e/a", false}, "above": {object, "d", false}, "with dots": {object, "../a", false}, "absolute": {object, "/d/a", false},
		"a directory": {prefix, "d/x/", true}, "a directory of a neighbour": {prefix, "e/x/", false}, "itself": {prefix, "d/", false}, "no directory": {prefix, "d/x", false}, "the root": {prefix, "/", false},
	} {
		cl, _ := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
			fmt.Fprintf(w, `<ListBucketResult><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>`+c.what+`</ListBucketResult>`, c.key)
		})
		page, err := cl.List(t.Context(), ListRequest{Bucket: "bucket", Prefix: "d/", Delimiter: "/"})
		if c.ok {
			if err != nil || len(page.Objects)+len(page.Prefixes) != 1 {
				t.Errorf("%s: %+v %v", name, page, err)
			}
			continue
		}
		want(t, name, err, Unknown, "UnknownAnswer")
	}
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		io.WriteString(w, `<ListMultipartUploadsResult><Upload><Key>other/k</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>`)
	})
	_, err := c.Uploads(t.Context(), "bucket", "mine/")
	want(t, "uploads", err, Unknown, "UnknownAnswer")
}

// Keys that were listed before do not come again, in whatever order they are sent: a listing goes on or is an error.
func TestListingsThatGoBack(t *testing.T) {
	c, srv := serve(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		// The same page and the same token for ever, out of order.
		io.WriteString(w, `<ListBucketResult><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>`+
			`<Contents><Key>b</Key><Size>1</Size></Contents><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>`)
	})
	page, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
	if err != nil || len(page.Objects) != 2 || page.Objects[0].Key != "a" || page.Next != "b" {
		t.Errorf("%+v %v", page, err)
	}
	_, err = c.List(t.Context(), ListRequest{Bucket: "bucket", After: "b"})
	want(t, "again", err, Unknown, "UnknownAnswer")
	if n := len(srv.requests()); n > 4 {
		t.Errorf("%d requests", n)
	}
}

// Lists that would go on for ever: empty pages with new tokens, parts and uploads that come in circles, or without an end.
func TestEndlessLists(t *testing.T) {
	var n atomic.Int64
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		i := n.Add(1)
		switch q := r.URL.Query(); {
		case q.Has("uploads"):
			fmt.Fprintf(w, `<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><Upload><Key>%c</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>`, 'b'-i%2)
		case q.Get("uploadId") == "circle":
			fmt.Fprintf(w, `<ListPartsResult><IsTruncated>true</IsTruncated><Part><PartNumber>%d</PartNumber><Size>5</Size></Part></ListPartsResult>`, 1+i%2)
		case q.Has("uploadId"):
			marker, _ := strconv.Atoi(q.Get("part-number-marker"))
			io.WriteString(w, `<ListPartsResult><IsTruncated>true</IsTruncated>`)
			for p := range 1000 {
				fmt.Fprintf(w, `<Part><PartNumber>%d</PartNumber><Size>5</Size></Part>`, marker+1+p)
			}
			io.WriteString(w, `</ListPartsResult>`)
		default:
			fmt.Fprintf(w, `<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken></ListBucketResult>`, i)
		}
	})
	for what, call := range map[string]func() error{
		"uploads":      func() error { _, err := c.Uploads(t.Context(), "bucket", ""); return err },
		"a circle":     func() error { _, err := c.Parts(t.Context(), "bucket", "k", "circle"); return err },
		"parts":        func() error { _, err := c.Parts(t.Context(), "bucket", "k", "endless"); return err },
		"empty pages":  func() error { _, err := c.List(t.Context(), ListRequest{Bucket: "bucket"}); return err },
		"empty prefix": func() error { _, err := c.List(t.Context(), ListRequest{Bucket: "bucket", Prefix: "p/"}); return err },
	} {
		before := n.Load()
		want(t, what, call(), Unknown, "UnknownAnswer")
		if asked := n.Load() - before; asked > maxEmptyPages {
			t.Errorf("%s: %d requests", what, asked)
		}
	}
}

// Sizes beyond what any store has are no sizes: sums of them would be negative.
func TestSizesThatCannotBe(t *testing.T) {
	for _, size := range []string{"-1", "1152921504606846977", "9223372036854775807", "9223372036854775808", "99999999999999999999", "1e3", ""} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			switch {
			case r.URL.Query().Has("uploadId"):
				fmt.Fprintf(w, `<ListPartsResult><Part><PartNumber>1</PartNumber><Size>%s</Size></Part></ListPartsResult>`, size)
			case r.Method == http.MethodGet && r.Header.Get("Range") != "":
				w.Header().Set("Etag", `"e"`)
				w.Header().Set("Content-Range", "bytes 0-0/"+size)
				w.Header().Set("Content-Length", "1")
				w.WriteHeader(http.StatusPartialContent)
				io.WriteString(w, "x")
			case r.Method == http.MethodGet:
				fmt.Fprintf(w, `<ListBucketResult><KeyCount>1</KeyCount><Contents><Key>k</Key><Size>%s</Size></Contents></ListBucketResult>`, size)
			}
		})
		_, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
		want(t, "a listing with "+size, err, Unknown, "UnknownAnswer")
		_, err = c.Parts(t.Context(), "bucket", "k", "u")
		want(t, "parts with "+size, err, Unknown, "UnknownAnswer")
		_, _, err = c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k", Offset: 0, Length: 1})
		want(t, "a range of "+size, err, Unknown, "UnknownAnswer")
	}
}

// raw is a server that answers each request on a connection with bytes as they are.
func raw(t *testing.T, answer string) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 64<<10)
				if _, err := conn.Read(buf); err == nil {
					io.WriteString(conn, answer) // the client may have gone
				}
			}()
		}
	}()
	c, err := Open(Config{Endpoint: "http://" + l.Addr().String(), Region: "us-east-1", Timeout: 300 * time.Millisecond, Credentials: CredentialsConfig{AccessKey: "a", SecretKey: "s"}})
	noError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// Headers that are no HTTP, too many or too large end the attempt; none is believed.
func TestHeadersThatCannotBe(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nEtag: \"e\"\r\n"
	for name, answer := range map[string]string{
		"a negative length":  ok + "Content-Length: -5\r\n\r\nhello",
		"a length of words":  ok + "Content-Length: five\r\n\r\nhello",
		"two lengths":        ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"over 2^63":          ok + "Content-Length: 9223372036854775808\r\n\r\nhello",
		"over 1 EiB":         ok + "Content-Length: 1152921504606846977\r\n\r\nhello",
		"a header of 2 MiB":  ok + "X-Long: " + strings.Repeat("x", 2<<20) + "\r\nContent-Length: 0\r\n\r\n",
		"headers of 2 MiB":   ok + strings.Repeat("X-Many: "+strings.Repeat("y", 1000)+"\r\n", 2<<10) + "Content-Length: 0\r\n\r\n",
		"no status":          "hello\r\n\r\n",
		"a status of words":  "HTTP/1.1 OK\r\n\r\n",
		"nothing":            "",
		"half a status line": "HTTP/1.1 2",
		"a NUL in a name":    ok + "X\x00: y\r\nContent-Length: 0\r\n\r\n",
		"no ETag":            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	} {
		c := raw(t, answer)
		_, err := c.Head(t.Context(), "bucket", "key")
		if err == nil {
			t.Errorf("%s: a HEAD is a success", name)
		}
		if errors.Is(err, NotFound) {
			t.Errorf("%s: %v", name, err)
		}
		body, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "key"})
		if err == nil {
			_, err = io.Copy(io.Discard, body)
			body.Close()
		}
		if err == nil {
			t.Errorf("%s: a GET is a success", name)
		}
	}
}

// A document is read to its bound and no further, however long it goes on.
func TestDocumentsWithoutAnEnd(t *testing.T) {
	flood := func(begin, again string) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, _ *http.Request, _ int) {
			io.WriteString(w, begin)
			for sent := 0; sent < 3*maxAnswer; sent += len(again) {
				if _, err := io.WriteString(w, again); err != nil {
					return
				}
			}
		}
	}
	page := "<ListBucketResult><KeyCount>1</KeyCount>"
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request, int){
		"blanks":   flood(page, strings.Repeat(" ", 64<<10)),
		"one name": flood(page+"<Contents><Key>", strings.Repeat("k", 64<<10)),
		"one tag":  flood(page+"<Contents a='", strings.Repeat("k", 64<<10)),
	} {
		c, _ := serve(t, answer)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
		want(t, name, err, Unknown, "UnknownAnswer")
		_, err = c.BucketLocation(t.Context(), "bucket")
		want(t, name+" as a location", err, Unknown, "UnknownAnswer")
		runtime.GC()
		runtime.ReadMemStats(&after)
		if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > maxAnswer {
			t.Errorf("%s: %d bytes are kept", name, kept)
		}
		if n := c.Counters().Snapshot().BytesIn; n > 6*(maxAnswer+1<<20) {
			t.Errorf("%s: %d bytes were read", name, n)
		}
	}
	// An error document has a bound of its own; the status is an answer all the same.
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		w.WriteHeader(http.StatusForbidden)
		flood("<Error><Code>AccessDenied</Code><Message>", strings.Repeat("m", 64<<10))(w, r, n)
	})
	_, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
	e := want(t, "an error", err, Denied, "AccessDenied")
	if len(e.Error()) > 1<<20 {
		t.Errorf("a text of %d bytes", len(e.Error()))
	}
}

// Entities, depth and document types: nothing grows beyond what was sent.
func TestDocumentsThatWouldGrow(t *testing.T) {
	for name, doc := range map[string]string{
		"a billion laughs":     `<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><ListBucketResult><Name>&b;</Name></ListBucketResult>`,
		"an entity of its own": `<ListBucketResult><Name>&b;</Name></ListBucketResult>`,
		"a file of this host":  `<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><ListBucketResult><Name>&a;</Name></ListBucketResult>`,
		"deep":                 "<ListBucketResult>" + strings.Repeat("<a>", 100000) + strings.Repeat("</a>", 100000) + "</ListBucketResult>",
		"a code of no letter":  `<ListBucketResult><Name>&#xD800;</Name></ListBucketResult>`,
	} {
		c, _ := serve(t, says200(doc))
		_, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
		want(t, name, err, Unknown, "UnknownAnswer")
	}
}

// A redirect is no answer: whoever it leads to is not asked, and sees neither signature nor token nor body.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var asked atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked.Add(1) }))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			w.Header().Set("Location", thief.URL+r.URL.Path)
			w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
			w.WriteHeader(status)
		}, func(cfg *Config) { cfg.Credentials.SessionToken = "token"; cfg.Timeout = time.Second })
		ctx := t.Context()
		for what, call := range map[string]func() error{
			"list":     func() error { _, err := c.List(ctx, ListRequest{Bucket: "bucket"}); return err },
			"head":     func() error { _, err := c.Head(ctx, "bucket", "k"); return err },
			"get":      func() error { _, _, err := c.Get(ctx, GetRequest{Bucket: "bucket", Key: "k"}); return err },
			"bucket":   func() error { return c.HeadBucket(ctx, "bucket") },
			"create":   func() error { return c.CreateBucket(ctx, "bucket") },
			"delete":   func() error { return c.Delete(ctx, "bucket", "k") },
			"location": func() error { _, err := c.BucketLocation(ctx, "bucket"); return err },
			"put": func() error {
				_, err := c.Put(ctx, PutRequest{Bucket: "bucket", Key: "k", Body: strings.NewReader("secret content"), Size: 14})
				return err
			},
			"part": func() error {
				_, err := c.UploadPart(ctx, PartRequest{Bucket: "bucket", Key: "k", UploadID: "u", Number: 1, Body: strings.NewReader("x"), Size: 1})
				return err
			},
			"copy": func() error {
				_, err := c.Copy(ctx, CopyRequest{SrcBucket: "bucket", SrcKey: "s", Bucket: "bucket", Key: "k"})
				return err
			},
		} {
			if err := call(); err == nil || errors.Is(err, NotFound) {
				t.Errorf("%d to a %s: %v", status, what, err)
			}
		}
		if _, err := c.Reach(ctx); err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

// Bytes are the object's as they are stored: nothing is unpacked on the way, and a store that packs by itself is found out.
func TestPackedBodiesStayPacked(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(make([]byte, 1<<20)) // a Buffer's Write does not fail
	z.Close()
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(packed.Len()))
		object(w, r, "e", packed.Bytes())
	})
	body, o, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	got, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(got, packed.Bytes()) || o.Size != int64(packed.Len()) || o.Headers.ContentEncoding != "gzip" {
		t.Errorf("%d bytes of %d, said %d: %v", len(got), packed.Len(), o.Size, err)
	}
	body.Close()
	if h := srv.header(1).Get("Accept-Encoding"); strings.Contains(h, "gzip") {
		t.Errorf("packed bodies are asked for: %q", h)
	}
	// A document that is packed although nobody asked for that is none.
	c, _ = serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed.Bytes())
	})
	_, err = c.List(t.Context(), ListRequest{Bucket: "bucket"})
	want(t, "a packed page", err, Unknown, "UnknownAnswer")
}

// The words of a store are no more than words: what stands in an error comes as it is, and bounded; who shows it makes it quiet.
func TestWordsOfAStoreAreBounded(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("X-Amz-Request-Id", strings.Repeat("r", 64<<10))
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", strings.Repeat("C", 64<<10), strings.Repeat("m", 64<<10))
	})
	_, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
	if err == nil || len(err.Error()) > 8<<10 {
		t.Errorf("an error of %d bytes", len(fmt.Sprint(err)))
	}
}
