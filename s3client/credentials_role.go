package s3client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"pailfs/s3client/outward"
)

// role asks the container's or the instance's metadata service. A host without one must not wait for it long, nor again
// with every request. Keys that are still valid stay when they cannot be renewed.
type role struct {
	credentials.IAM // as it was asked last, or is to be asked first
	limit           time.Duration
	asking          asking[givenKeys]
	value           credentials.Value
	got             time.Time // when it was given
	failed          error
	at              time.Time
}

// givenKeys are those of a service, which remembers when they end.
type givenKeys struct {
	credentials.Value
	by credentials.IAM
}

const (
	roleLimit     = 3 * time.Second
	hintedLimit   = 15 * time.Second
	roleForgetful = 10 * time.Second
	// roleAgain: requests that were refused together ask for new keys one after another, and one answer does for all.
	roleAgain = time.Second
)

var _ credentials.Provider = (*role)(nil)

// roleHinted reports whether the environment names a service that gives credentials.
func roleHinted() bool {
	return firstEnv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_WEB_IDENTITY_TOKEN_FILE") != ""
}

func newRole() *role {
	r := &role{limit: roleLimit}
	if roleHinted() {
		r.limit = hintedLimit
	}
	dialer := &net.Dialer{Timeout: r.limit / 3}
	t := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: r.limit / 3}
	if os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" {
		t.Proxy = outward.Proxy // a service far away; the others are the host's own
	}
	r.Client = &http.Client{Timeout: r.limit, Transport: t}
	return r
}

// RetrieveWithCredContext asks, at most for the limit. It has its own client: these requests are not the store's.
func (r *role) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	valid := r.value.AccessKeyID != "" && (r.value.Expiration.IsZero() || time.Now().Before(r.value.Expiration))
	switch {
	case r.failed != nil && time.Since(r.at) < roleForgetful:
		if valid {
			return r.value, nil
		}
		return credentials.Value{}, r.failed
	case valid && time.Since(r.got) < roleAgain:
		return r.value, nil
	}
	got, err := r.asking.within(r.limit, r.asked())
	if err == nil && got.AccessKeyID == "" {
		err = errors.New("the metadata service has no role for this machine")
	}
	if err != nil {
		r.failed, r.at = noCredentials(err), time.Now()
		if valid {
			return r.value, nil
		}
		return credentials.Value{}, r.failed
	}
	r.failed, r.IAM, r.value, r.got = nil, got.by, got.Value, time.Now()
	return r.value, nil
}

// asked is one question, by a copy: it may still go on when it has been given up.
func (r *role) asked() func() (givenKeys, error) {
	got, client, limit := givenKeys{by: r.IAM}, r.Client, r.limit
	return func() (givenKeys, error) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		var err error
		got.Value, err = got.by.RetrieveWithCredContext(&credentials.CredContext{Client: client, Context: ctx})
		return got, err
	}
}

// trouble is why the last question got no keys.
func (r *role) trouble() error { return r.failed }

// Retrieve is RetrieveWithCredContext.
func (r *role) Retrieve() (credentials.Value, error) { return r.RetrieveWithCredContext(nil) }
