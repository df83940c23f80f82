package s3client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Of an upload that was created at the second attempt nobody knows whether the first has created another.
func TestDoubt(t *testing.T) {
	const created = "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>"
	for name, tt := range map[string]struct {
		first func(http.ResponseWriter)
		doubt bool
	}{
		"at once":         {says(200, created), false},
		"connection lost": {cut, true},
		"500":             {says(500, ""), true},
		"slow down":       {says(503, errorDoc("SlowDown")), false},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				tt.first(w)
				return
			}
			says(200, created)(w)
		})
		ctx, doubt := WithDoubt(t.Context())
		if id, err := c.CreateUpload(ctx, "bucket", "k", Headers{}); id != "id" || err != nil {
			t.Errorf("%s: %q, %v", name, id, err)
		}
		if doubt.Any() != tt.doubt {
			t.Errorf("%s: doubt %v", name, doubt.Any())
		}
	}
	Doubtful(context.Background()) // nobody asked

	c, srv := serve(t, nil, func(cfg *Config) { cfg.Timeout = 300 * time.Millisecond })
	srv.Close()
	ctx, doubt := WithDoubt(t.Context())
	if _, err := c.CreateUpload(ctx, "bucket", "k", Headers{}); !errors.Is(err, Temporary) || doubt.Any() {
		t.Errorf("nobody there: %v, doubt %v", err, doubt.Any())
	}
}

// What was told to a later attempt says nothing of one that had no answer: the store may have carried that one out.
func TestARefusalBehindALostAnswer(t *testing.T) {
	calls := map[string]func(context.Context, *Client) error{
		"put": func(_ context.Context, c *Client) error { return put(c) },
		"copy": func(ctx context.Context, c *Client) error {
			_, err := c.Copy(ctx, CopyRequest{SrcBucket: "bucket", SrcKey: "from", Bucket: "bucket", Key: "k"})
			return err
		},
		"complete": func(ctx context.Context, c *Client) error {
			_, err := c.CompleteUpload(ctx, completeRequest())
			return err
		},
		"delete": func(ctx context.Context, c *Client) error { return c.Delete(ctx, "bucket", "k") },
		"delete many": func(ctx context.Context, c *Client) error {
			_, err := c.DeleteMany(ctx, "bucket", []string{"k", "l"})
			return err
		},
	}
	for _, tt := range []struct {
		status      int
		code        string
		alone, then Kind // without an attempt in doubt, and behind one
	}{
		{503, "SlowDown", Throttled, Temporary},
		{403, "AccessDenied", Denied, Temporary},
		{403, "QuotaExceeded", TooLarge, Temporary},
		{501, "NotImplemented", Unsupported, Temporary},
		{400, "InvalidArgument", Invalid, Temporary},
		{404, "NoSuchBucket", NotFound, NotFound},
		{412, "PreconditionFailed", Changed, Changed},
	} {
		for name, call := range calls {
			for _, lost := range []bool{false, true} {
				n := 0
				bubble(t, func(r *http.Request) (*http.Response, error) {
					switch {
					case r.Method == http.MethodHead:
						return reply(404, nil, ""), nil
					case n == 0 && lost:
						n++
						return nil, errors.New("connection reset by peer")
					}
					n++
					return reply(tt.status, http.Header{"X-Amz-Request-Id": {"id7"}}, errorDoc(tt.code)), nil
				}, func(t *testing.T, c *Client) {
					kind := map[bool]Kind{false: tt.alone, true: tt.then}[lost]
					err := call(t.Context(), c)
					for _, k := range Kinds() {
						if errors.Is(err, k) != (k == kind) {
							t.Errorf("%s, %s, answer lost %v: is %v: %v", name, tt.code, lost, k, err)
						}
					}
					e := want(t, name, err, kind, tt.code)
					if e.Status != tt.status || e.RequestID != "id7" || !strings.HasPrefix(e.Message, "m") {
						t.Errorf("%s: %+v", name, e)
					}
				})
			}
		}
	}
}

// A key of many that are deleted at once may be gone when a later request for it is refused.
func TestADeletionOfManyThatIsRefusedBehindALostAnswer(t *testing.T) {
	for name, first := range map[string]func() (*http.Response, error){
		"lost": func() (*http.Response, error) { return nil, errors.New("connection reset by peer") },
		"broken": func() (*http.Response, error) {
			return reply(200, nil, "<DeleteResult><Error><Key>k</Key><Code>InternalError</Code></Error></DeleteResult>"), nil
		},
		"left out": func() (*http.Response, error) { return reply(200, nil, "<DeleteResult></DeleteResult>"), nil },
	} {
		n := 0
		bubble(t, func(r *http.Request) (*http.Response, error) {
			switch n++; {
			case n == 1:
				return first()
			case r.Method == http.MethodDelete:
				return reply(403, nil, errorDoc("AccessDenied")), nil
			}
			return reply(200, nil, "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code></Error></DeleteResult>"), nil
		}, func(t *testing.T, c *Client) {
			ctx, doubt := WithDoubt(t.Context())
			bad, err := c.DeleteMany(ctx, "bucket", []string{"k"})
			if err != nil || len(bad) != 1 || !doubt.Any() {
				t.Fatalf("%s: %v, %v, doubt %v", name, bad, err, doubt.Any())
			}
			want(t, name, bad[0].Err, Temporary, "AccessDenied")
		})
	}
}

// The kind of a source's failure is not the store's word either.
func TestASourceThatFailsBehindALostAnswer(t *testing.T) {
	n := 0
	bubble(t, func(*http.Request) (*http.Response, error) {
		n++
		return nil, errors.New("connection reset by peer")
	}, func(t *testing.T, c *Client) {
		_, err := c.Put(t.Context(), PutRequest{Bucket: "bucket", Key: "k", Size: 4, Body: readerAt(func(p []byte, off int64) (int, error) {
			if n > 0 {
				return 0, &Error{Op: "GET Object", Kind: Throttled}
			}
			return copy(p, "body"), nil
		})})
		want(t, "source", err, Temporary, "SourceFailed")
		if errors.Is(err, Throttled) {
			t.Error(err)
		}
	})
}
