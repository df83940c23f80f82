package scale

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
)

// account is the service's limit of writes: so many a second, later ones are delayed, and refused when that would take more
// than a minute.
type account struct {
	rate int
	mu   struct {
		sync.Mutex
		next            time.Time // when the next write is carried out
		done, throttled int
		waits           []time.Duration
	}
}

const longestDelay = time.Minute

// RoundTrip answers a PUT.
func (a *account) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
	}
	delay := a.turn()
	select {
	case <-time.After(max(delay, 20*time.Millisecond)):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	res := &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Etag": {`"d41d8cd98f00b204e9800998ecf8427e"`}},
		Body: http.NoBody, Request: r}
	if delay < 0 {
		const refusal = `<Error><Code>TooManyRequests</Code><Message>slow down</Message></Error>`
		res.StatusCode, res.Header = http.StatusTooManyRequests, http.Header{"Content-Type": {"application/xml"}}
		res.Body, res.ContentLength = io.NopCloser(strings.NewReader(refusal)), int64(len(refusal))
	}
	return res, nil
}

// turn is how long a write waits, negative when it is refused.
func (a *account) turn() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.mu.next.Before(now) {
		a.mu.next = now
	}
	delay := a.mu.next.Sub(now)
	if delay > longestDelay {
		a.mu.throttled++
		return -1
	}
	a.mu.next = a.mu.next.Add(time.Second / time.Duration(a.rate))
	a.mu.done++
	return delay
}

// A thousand mounts, each with writers of its own, share an account's 500 writes a second: the account's rate is used, and nothing
// fails as long as the store delays, or each mount keeps to its share. When more is under way than the store delays, some calls
// end at their deadline. It is the real client on a clock of its own.
func TestAThousandMountsShareAnAccount(t *testing.T) {
	n := *mounts
	rate := n / 2 // 500 for a thousand
	for _, c := range []struct {
		name          string
		writers, each int     // of a mount: at once, and what each writes
		write         float64 // --write-rate
		refused       bool    // some are, and tried again for as long as a call may take
	}{
		{"a few writers, the default rate", 2, 10, 450, false},
		{"48 writers, the default rate", 48, 2, 450, true},
		{"48 writers, a share for each", 48, 2, float64(rate) / float64(n), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &account{rate: rate}
				var took []time.Duration
				var failed int
				var mu sync.Mutex
				var going sync.WaitGroup
				began := time.Now()
				for i := range n {
					client, err := s3client.Open(s3client.Config{Endpoint: "http://store.invalid", Region: "KR1", Provider: "nhn", WriteRate: c.write,
						Transport: a, Credentials: s3client.CredentialsConfig{AccessKey: "a", SecretKey: "s"}})
					if err != nil {
						t.Fatal(err)
					}
					for j := range c.writers {
						going.Go(func() {
							for k := range c.each {
								began := time.Now()
								_, err := client.Put(context.Background(), s3client.PutRequest{Bucket: "bucket", Key: fmt.Sprintf("%d-%d-%d", i, j, k),
									Body: bytes.NewReader(nil)})
								mu.Lock()
								took = append(took, time.Since(began))
								if err != nil {
									failed++
									if !c.refused || !errors.Is(err, s3client.Throttled) && !errors.Is(err, s3client.Temporary) {
										t.Error(err)
									}
								}
								mu.Unlock()
							}
						})
					}
				}
				going.Wait()
				all := time.Since(began)
				sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
				t.Logf("%d writes in %v: %.0f a second; the store refused %d; p50 %v, p99 %v, worst %v; %d failed", len(took), all.Round(time.Second),
					float64(a.mu.done)/all.Seconds(), a.mu.throttled, took[len(took)/2].Round(time.Millisecond),
					took[len(took)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), failed)
				if failed > 0 && !c.refused || a.mu.done < n*c.writers*c.each-failed {
					t.Errorf("%d writes failed, %d were carried out", failed, a.mu.done)
				}
				if c.refused != (a.mu.throttled > 0) {
					t.Errorf("%d writes were refused", a.mu.throttled)
				}
			})
		})
	}
}
