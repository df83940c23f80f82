package s3client

import (
	"bytes"
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// deleteTime is how long a store may take for one key of a multi-delete; Swift says nothing until the last is done.
const deleteTime = 100 * time.Millisecond

// DeleteMany deletes objects, Profile().MaxDelete keys a request.
//
// Keys that XML cannot hold go one by one, and so do those that the answer leaves out or reports with an error that may
// pass: a single DELETE has its own retries and its own words.
func (c *Client) DeleteMany(ctx context.Context, bucket string, keys []string) ([]KeyError, error) {
	o := op{name: "DELETE Multiple Objects", bucket: bucket, write: true}
	var batch, single, again []string
	for _, key := range keys {
		if xmlCanHold(key) {
			batch = append(batch, key)
		} else {
			single = append(single, key)
		}
	}
	var refused []KeyError
	for len(batch) > 0 {
		n := min(len(batch), c.profile.MaxDelete)
		bad, more, err := c.deleteBatch(ctx, o, batch[:n])
		if err != nil {
			return refused, err
		}
		refused, again, batch = append(refused, bad...), append(again, more...), batch[n:]
	}
	for i, key := range slices.Concat(single, again) {
		if err := c.Delete(ctx, bucket, key); err != nil {
			if KindOf(err) == Canceled {
				return refused, err
			}
			if i >= len(single) {
				err = InDoubt(err)
			}
			refused = append(refused, KeyError{Key: key, Err: err})
		}
	}
	return refused, nil
}

// deleteBatch sends one request. again are the keys to delete singly.
func (c *Client) deleteBatch(ctx context.Context, o op, keys []string) (refused []KeyError, again []string, err error) {
	o.extra = time.Duration(len(keys)) * deleteTime
	var results map[string]*Error
	noted, doubt := WithDoubt(ctx)
	err = c.do(noted, o, func(ctx context.Context, a *attempt) error {
		doc, err := c.signed(ctx, a, signedRequest{method: http.MethodPost, bucket: o.bucket,
			query: url.Values{"delete": {""}}, header: http.Header{"Content-Type": {"application/xml"}},
			body: deleteDocument(keys)}, "DeleteResult")
		if err == nil {
			results, err = parseDeleteResult(o, doc)
		}
		return err
	})
	if doubt.Any() {
		Doubtful(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, key := range keys {
		e, answered := results[key]
		switch {
		case !answered || e != nil && e.Kind == Temporary:
			Doubtful(ctx)
			again = append(again, key)
		case e == nil || e.Kind == NotFound && e.Code == "NoSuchKey":
		case e.Kind == Throttled:
			again = append(again, key)
		case doubt.Any():
			refused = append(refused, KeyError{Key: key, Err: InDoubt(e)})
		default:
			refused = append(refused, KeyError{Key: key, Err: e})
		}
	}
	return refused, again, nil
}

// xmlCanHold reports whether XML 1.0 has all characters of s: no control characters but tab and line ends.
func xmlCanHold(s string) bool {
	for _, r := range s {
		switch {
		case r == '\t', r == '\n', r == '\r', r >= 0x20 && r < 0xD800, r >= 0xE000 && r <= 0xFFFD, r >= 0x10000:
		default:
			return false
		}
	}
	return s != ""
}

func deleteDocument(keys []string) []byte {
	var b bytes.Buffer
	b.WriteString(`<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for _, key := range keys {
		b.WriteString("<Object><Key>")
		// Line ends become character references, so that they survive; a Buffer's Write does not fail.
		_ = xml.EscapeText(&b, []byte(key))
		b.WriteString("</Key></Object>")
	}
	b.WriteString("</Delete>")
	return b.Bytes()
}

// parseDeleteResult gives each reported key its error, nil for a deleted one.
func parseDeleteResult(o op, doc []byte) (map[string]*Error, error) {
	results := make(map[string]*Error)
	var key, code, message string
	_, err := walkXML(doc, func(path [][]byte, text []byte) {
		switch {
		case at(path, "Deleted", "Key"), at(path, "Error", "Key"):
			key = string(text)
		case at(path, "Error", "Code"):
			code = string(text)
		case at(path, "Error", "Message"):
			message = string(text)
		case at(path, "Deleted"):
			results[key] = nil
		case at(path, "Error"):
			results[key] = &Error{Op: o.name, Bucket: o.bucket, Key: key, Kind: kindOf(http.StatusOK, code),
				Status: http.StatusOK, Code: bounded(code, longWord), Message: bounded(message, longMessage)}
			code, message = "", ""
		}
	})
	return results, err
}
