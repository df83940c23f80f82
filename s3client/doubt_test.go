package s3client

import (
	"context"
	"errors"
	"net/http"
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
