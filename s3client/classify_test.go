package s3client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   Kind
	}{
		{404, "NoSuchKey", NotFound}, {404, "NoSuchBucket", NotFound}, {404, "NoSuchUpload", NotFound}, {404, "", NotFound},
		{410, "", NotFound},
		{409, "BucketAlreadyOwnedByYou", Exists}, {409, "BucketAlreadyExists", Exists}, {409, "BucketNotEmpty", NotEmpty},
		{409, "OperationAborted", Temporary}, {409, "", Unknown}, {409, "NoSuchKey", Unknown},
		{412, "PreconditionFailed", Changed}, {412, "InvalidRequest", Changed}, {412, "", Changed},
		{401, "", Denied}, {403, "", Denied}, {403, "AccessDenied", Denied}, {403, "SignatureDoesNotMatch", Denied},
		{404, "XAdminUserNotFound", Denied},
		{403, "RequestTimeTooSkewed", Denied}, {403, "NoSuchKey", Denied}, {403, "SlowDown", Denied},
		{403, "QuotaExceeded", TooLarge}, {401, "QuotaExceeded", Denied},
		{400, "AuthorizationHeaderMalformed", Denied}, {400, "ExpiredToken", Denied}, {400, "InvalidAccessKeyId", Denied},
		{400, "", Invalid}, {400, "KeyTooLongError", Invalid}, {400, "NoSuchKey", Invalid}, {400, "Whatever", Invalid},
		{400, "BadDigest", Temporary}, {400, "XAmzContentSHA256Mismatch", Temporary}, {400, "RequestTimeout", Temporary},
		{400, "IncompleteBody", Temporary}, {400, "EntityTooLarge", TooLarge}, {413, "", TooLarge},
		{405, "MethodNotAllowed", Unsupported}, {501, "NotImplemented", Unsupported}, {501, "", Unsupported},
		{408, "", Temporary}, {499, "", Temporary}, {416, "InvalidRange", Invalid}, {301, "PermanentRedirect", Invalid},
		{429, "", Throttled}, {429, "NoSuchKey", Throttled}, {503, "SlowDown", Throttled}, {503, "", Temporary},
		{503, "NoSuchKey", Temporary}, {500, "InternalError", Temporary}, {500, "NoSuchBucket", Temporary},
		{502, "", Temporary}, {504, "", Temporary}, {520, "", Temporary}, {500, "AccessDenied", Temporary},
		{200, "NoSuchKey", NotFound}, {200, "InternalError", Temporary}, {200, "InvalidPart", Invalid}, {200, "X", Unknown},
		{418, "", Unknown}, {304, "", Unknown},
	} {
		if got := kindOf(c.status, c.code); got != c.want {
			t.Errorf("%d %s: %v, want %v", c.status, c.code, got, c.want)
		}
	}
}

// No status but 404 and 410 may ever say that something is not there, whatever the code.
func TestNothingElseIsNotFound(t *testing.T) {
	codes := []string{"", "Unheard"}
	for code := range codeKinds {
		codes = append(codes, code)
	}
	for status := 300; status < 600; status++ {
		for _, code := range codes {
			if status != 404 && status != 410 && kindOf(status, code) == NotFound {
				t.Errorf("%d %s is not found", status, code)
			}
		}
	}
}

func TestErrorsFromTheWire(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, int)
		call   func(*Client) error
		kind   Kind
		code   string
		most   int // requests
	}{
		"missing key": {say(404, "NoSuchKey"), get, NotFound, "NoSuchKey", 2},
		"missing bucket": {say(404, "NoSuchBucket"), func(c *Client) error {
			_, err := c.List(ctx, ListRequest{Bucket: "bucket"})
			return err
		}, NotFound, "NoSuchBucket", 1},
		"a 404 of some proxy": {func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.WriteHeader(404)
			w.Write([]byte("<html><body>No such page</body></html>"))
		}, get, Unknown, "UnknownAnswer", 1},
		"a 200 of some portal": {func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Write([]byte("<html><body>Please log in</body></html>"))
		}, func(c *Client) error { _, err := c.Buckets(ctx); return err }, Unknown, "UnknownAnswer", 1},
		"a HEAD of some portal": {func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Content-Length", "12")
		}, head, Unknown, "UnknownAnswer", 1},
		"HEAD 404":   {say(404, "NoSuchKey"), head, NotFound, "", 1},
		"HEAD 500":   {say(500, "InternalError"), head, Temporary, "", most500},
		"HEAD 403":   {say(403, "SignatureDoesNotMatch"), head, Denied, "", most403},
		"HEAD 400":   {say(400, "KeyTooLongError"), head, Invalid, "", most400},
		"refused":    {say(403, "AccessDenied"), get, Denied, "AccessDenied", 1},
		"signature":  {say(403, "SignatureDoesNotMatch"), get, Denied, "SignatureDoesNotMatch", most403},
		"skewed":     {say(403, "RequestTimeTooSkewed"), get, Denied, "RequestTimeTooSkewed", 1},
		"same 500":   {say(500, "InternalError"), put, Temporary, "InternalError", most500},
		"501":        {say(501, "NotImplemented"), put, Unsupported, "NotImplemented", 1},
		"412 to GET": {say(412, "PreconditionFailed"), get, Changed, "PreconditionFailed", 1},
		"416 to GET": {say(416, "InvalidRange"), get, Changed, "InvalidRange", 1},
		"bucket there": {say(409, "BucketAlreadyOwnedByYou"), func(c *Client) error { return c.CreateBucket(ctx, "bucket") },
			Exists, "BucketAlreadyOwnedByYou", 1},
		"bare 409 to CREATE": {say(409, ""), func(c *Client) error { return c.CreateBucket(ctx, "bucket") }, Exists, "", 1},
		"bare 409 to DELETE": {say(409, ""), func(c *Client) error { return c.DeleteBucket(ctx, "bucket") }, NotEmpty, "", 1},
		"not empty": {say(409, "BucketNotEmpty"), func(c *Client) error { return c.DeleteBucket(ctx, "bucket") },
			NotEmpty, "BucketNotEmpty", 1},
		"no upload": {say(404, "NoSuchUpload"), func(c *Client) error { return c.AbortUpload(ctx, "bucket", "k", "id") },
			NotFound, "NoSuchUpload", 1},
		"bad bucket name": {nil, func(c *Client) error { return c.CreateBucket(ctx, "Ab") }, Invalid, "InvalidRequest", 0},
		"bad key":         {nil, func(c *Client) error { _, err := c.Head(ctx, "bucket", "a\x00b"); return err }, Invalid, "InvalidURI", 0},
		"no key":          {nil, func(c *Client) error { _, err := c.Head(ctx, "bucket", ""); return err }, Invalid, "InvalidRequest", 0},
		"key too long": {nil, func(c *Client) error { _, err := c.Head(ctx, "bucket", strings.Repeat("k", 1025)); return err },
			Invalid, "InvalidRequest", 0},
		"no ETag": {func(w http.ResponseWriter, r *http.Request, _ int) {}, put, Unknown, "UnknownAnswer", 1},
		"overtaken": {func(w http.ResponseWriter, r *http.Request, _ int) { w.Header().Set("X-Trans-Id", "tx1") }, put,
			Changed, "Overtaken", 1},
		"redirect": {say(301, "PermanentRedirect"), get, Invalid, "PermanentRedirect", 1},
	} {
		t.Run(name, func(t *testing.T) {
			client, srv := serve(t, c.answer)
			e := want(t, name, c.call(client), c.kind, c.code)
			if e.Op == "" {
				t.Errorf("no operation in %v", e)
			}
			if n := len(srv.requests()); n != c.most {
				t.Errorf("%d requests, want %d", n, c.most)
			}
		})
	}
}

func say(status int, code string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		if code == "" {
			w.WriteHeader(status)
			return
		}
		refuse(w, status, code, "")
	}
}

func get(c *Client) error {
	rc, _, err := c.Get(context.Background(), GetRequest{Bucket: "bucket", Key: "key", ETag: "e", Offset: 5, Length: 5})
	if err == nil {
		rc.Close()
	}
	return err
}

func head(c *Client) error { _, err := c.Head(context.Background(), "bucket", "key"); return err }

func list(c *Client) error {
	_, err := c.List(context.Background(), ListRequest{Bucket: "bucket"})
	return err
}

func put(c *Client) error {
	_, err := c.Put(context.Background(), PutRequest{Bucket: "bucket", Key: "key", Body: strings.NewReader("body"), Size: 4})
	return err
}

func TestWrongRegion(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.Method == http.MethodHead {
			w.WriteHeader(400)
			return
		}
		refuse(w, 400, "AuthorizationHeaderMalformed", "<Region>KR1</Region>")
	})
	for what, call := range map[string]func() error{
		"GET":         func() error { return get(c) },
		"LIST":        func() error { _, err := c.List(t.Context(), ListRequest{Bucket: "bucket"}); return err },
		"HEAD bucket": func() error { return c.HeadBucket(t.Context(), "bucket") }, // fetches the words
	} {
		if e := want(t, what, call(), Denied, "AuthorizationHeaderMalformed"); e.Region != "KR1" || e.Status != 400 {
			t.Errorf("%s: region %q status %d", what, e.Region, e.Status)
		}
	}
}

func TestHeadBucket(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n > 1 {
			w.WriteHeader(404)
		}
	})
	noError(t, c.HeadBucket(t.Context(), "bucket"))
	want(t, "missing", c.HeadBucket(t.Context(), "bucket"), NotFound, "NoSuchBucket")
}

func TestCanceled(t *testing.T) {
	asked := make(chan struct{}, 8)
	c, _ := serve(t, func(_ http.ResponseWriter, r *http.Request, _ int) {
		asked <- struct{}{}
		hang(r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := c.Head(ctx, "bucket", "key")
	want(t, "cancel", err, Canceled, "")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not wrap the context's error", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = c.List(ctx, ListRequest{Bucket: "bucket"})
	want(t, "the caller's deadline", err, Canceled, "")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not wrap the context's error", err)
	}
}

func TestNoAnswerIsTemporary(t *testing.T) {
	c, srv := serve(t, func(_ http.ResponseWriter, r *http.Request, _ int) { hang(r) },
		func(cfg *Config) { cfg.Timeout = 150 * time.Millisecond })
	_, err := c.Head(t.Context(), "bucket", "key")
	want(t, "no answer", err, Temporary, "")
	if !errors.Is(err, errNoAnswer) || len(srv.requests()) == 0 {
		t.Errorf("%v after %d requests", err, len(srv.requests()))
	}
}
