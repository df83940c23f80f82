package security

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// crafted is a store that serves what a test gives it, read-only, and any key: those that no honest store would take as well.
type crafted struct {
	*httptest.Server
	objects map[string]craftedObject // of the one bucket, "hostile"
	// first is asked before; true when it has answered.
	first func(w http.ResponseWriter, r *http.Request) bool
}

type craftedObject struct {
	body string
	meta map[string]string
}

const hostileBucket = "hostile"

func craft(t *testing.T, objects map[string]craftedObject, first func(http.ResponseWriter, *http.Request) bool) *crafted {
	t.Helper()
	c := &crafted{objects: objects, first: first}
	c.Server = httptest.NewServer(http.HandlerFunc(c.answer))
	t.Cleanup(c.Close)
	return c
}

// craftedEnv is the environment for it.
func (c *crafted) env() []string {
	return []string{"PAILFS_ENDPOINT=" + c.URL, "PAILFS_REGION=KR1", "AWS_ACCESS_KEY_ID=AKIACRAFTED", "AWS_SECRET_ACCESS_KEY=craftedsecret"}
}

func (c *crafted) answer(w http.ResponseWriter, r *http.Request) {
	if c.first != nil && c.first(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	bucket, key, isObject := strings.Cut(path, "/")
	q := r.URL.Query()
	switch {
	case path == "":
		fmt.Fprintf(w, "<ListAllMyBucketsResult><Buckets><Bucket><Name>%s</Name></Bucket></Buckets></ListAllMyBucketsResult>", hostileBucket)
	case bucket != hostileBucket:
		refuse(w, 404, "NoSuchBucket")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuse(w, 403, "AccessDenied")
	case isObject && key != "":
		o, ok := c.objects[key]
		if !ok {
			refuse(w, 404, "NoSuchKey")
			return
		}
		for name, value := range o.meta {
			w.Header().Set("X-Amz-Meta-"+name, value)
		}
		w.Header().Set("Etag", etagOf(key))
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Unix(1700000000, 0), strings.NewReader(o.body))
	case q.Has("location"):
		fmt.Fprint(w, "<LocationConstraint>KR1</LocationConstraint>")
	case r.Method == http.MethodHead:
	default:
		c.list(w, q)
	}
}

func etagOf(key string) string { return fmt.Sprintf(`"%032x"`, len(key)) }

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>m</Message></Error>", code)
}

func (c *crafted) list(w http.ResponseWriter, q url.Values) {
	prefix, delimiter, after := q.Get("prefix"), q.Get("delimiter"), q.Get("start-after")
	most, err := strconv.Atoi(q.Get("max-keys"))
	if err != nil {
		most = 1000
	}
	var keys []string
	for k := range c.objects {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var b strings.Builder
	n, truncated, last := 0, false, ""
	for _, k := range keys {
		name, element := k, "Contents"
		if i := strings.Index(k[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			name, element = k[:len(prefix)+i+len(delimiter)], "CommonPrefixes"
		}
		if name == last || name <= after {
			continue
		}
		if n == most {
			truncated = true
			break
		}
		n, last = n+1, name
		if element == "Contents" {
			fmt.Fprintf(&b, "<Contents><Key>%s</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified><ETag>%s</ETag><Size>%d</Size></Contents>", url.QueryEscape(name), escapeXML(etagOf(k)), len(c.objects[k].body))
		} else {
			fmt.Fprintf(&b, "<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>", url.QueryEscape(name))
		}
	}
	fmt.Fprintf(w, "<ListBucketResult><EncodingType>url</EncodingType><KeyCount>%d</KeyCount><IsTruncated>%v</IsTruncated>%s</ListBucketResult>", n, truncated, b.String())
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder's Write does not fail
	return b.String()
}
