package s3client

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func init() {
	// minio-go sleeps once more after its last attempt. It makes one attempt here (retry.go does the waiting), so that
	// sleep would only delay errors. Nothing else in this program uses the variable.
	minio.DefaultRetryUnit = 0
}

// Config says which store and how. The zero value of a field is its default.
type Config struct {
	// Region is one of the table (KR1 ...) or, with Endpoint, any name the store expects in signatures.
	Region string
	// Endpoint is a URL "https://host[:port]"; "" takes the region's.
	Endpoint string
	// Provider is "auto" (the default) or one of Providers.
	Provider    string
	Credentials CredentialsConfig
	// CAFile holds certificates in PEM form that are trusted besides the system's.
	CAFile string
	// VirtualHosted asks https://BUCKET.host/ instead of https://host/BUCKET. A bucket with a dot in its name is asked
	// by path all the same over https: no certificate covers it.
	VirtualHosted bool
	// Timeout is how long a call is tried in vain, 2 minutes by default. Time in which a body moves is not counted.
	Timeout time.Duration
	// MaxRequests are in flight at once, 64 by default, 2 at least.
	MaxRequests int
	// WriteRate bounds writes a second (PUT, COPY, POST, DELETE); 0 is the profile's: 450 for nhn, none else.
	WriteRate float64
	// BandwidthUp and BandwidthDown bound the bytes of bodies a second; 0 is no limit, LeastBandwidth the least.
	BandwidthUp, BandwidthDown int64
	// BodyStall is how long an object's body may stand still before the rest is asked for on another connection, 5 s by
	// default.
	BodyStall time.Duration
	// UserAgent is sent with each request, "pailfs/VERSION".
	UserAgent string
	// Trace, when not nil, is told of each attempt of a call, by the goroutine that makes it.
	Trace func(ctx context.Context, e Exchange)
	// Transport replaces the own one, for tests.
	Transport http.RoundTripper
}

const (
	defaultTimeout     = 2 * time.Minute
	defaultMaxRequests = 64
	// stallTime is how long a body may stand still. Stores pause for seconds, not for half a minute. An object that is
	// read is taken over sooner, since all that came of it is kept: the service gives 50-100 MB/s a connection, and
	// nothing it documents makes a read pause once it has begun. When the takeover brings nothing either, the next one
	// has twice the time, up to stallTime.
	stallTime     = 30 * time.Second
	bodyStallTime = 5 * time.Second
	// readWait and writeWait are how long an answer may take after the last byte of the request. The service delays
	// writes above its rate by up to 60 s without anything being wrong.
	//
	// It delays no reads, and an object's first byte takes it 10-50 ms: at two hundred times that the request is lost,
	// not late, so another is made on another connection. Should the store only be slow, the second has twice as long,
	// the third readWait. A listing, which the store may have to work for, has readWait at once.
	firstWait = 10 * time.Second
	readWait  = 30 * time.Second
	writeWait = 90 * time.Second
)

// Client is a Store over the network. It holds no goroutines of its own; Close drops idle connections.
type Client struct {
	core    *minio.Core
	creds   *credentials.Credentials
	told    *told // what creds may tell
	http    *http.Client
	wire    *wire
	base    *url.URL
	profile Profile
	hosted  bool // virtual-hosted style
	gate    *gate
	count   Counters
	timeout time.Duration
	stall   time.Duration // of all bodies but
	bodies  time.Duration // those of objects
	first   time.Duration // for the first try of an object's answer
	health  health
	trace   func(ctx context.Context, e Exchange) // nil: nobody listens
	listV1  atomic.Bool                           // the store turned out not to know version 2
	// looseCopies: a copy cannot be pinned to a multipart object's ETag (copy.go).
	looseCopies atomic.Bool
}

var _ Store = (*Client)(nil)

// Open prepares a client; it makes no request to the store. Errors are *Error: Invalid for a configuration that cannot
// work, Denied with Code NoCredentials when there are certainly none.
func Open(cfg Config) (*Client, error) {
	profile, base, err := profileOf(cfg)
	if err != nil {
		return nil, err
	}
	creds, err := findCredentials(cfg.Credentials)
	if err != nil {
		return nil, err
	}
	c := &Client{creds: creds.Credentials, told: creds.told, base: base, profile: profile, hosted: cfg.VirtualHosted, timeout: cfg.Timeout,
		trace: cfg.Trace}
	c.health.born = time.Now()
	if c.timeout < 0 || cfg.BodyStall < 0 || cfg.MaxRequests < 0 || cfg.WriteRate < 0 {
		return nil, badConfig("times, requests and rate cannot be negative")
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	c.stall = min(stallTime, c.timeout)
	// Of a short time-out enough must be left for others to try.
	c.first = min(firstWait, c.timeout/4)
	c.bodies = cmp.Or(cfg.BodyStall, min(bodyStallTime, c.timeout/4))
	if cfg.MaxRequests == 0 {
		cfg.MaxRequests = defaultMaxRequests
	}
	if cfg.WriteRate == 0 {
		cfg.WriteRate = profile.usualWriteRate()
	}
	c.gate = newGate(cfg.MaxRequests, cfg.WriteRate)
	c.listV1.Store(profile.ListV1)
	c.looseCopies.Store(profile.Name == "nhn" || profile.Name == "swift")
	if c.wire, err = newWire(cfg, profile, &c.count, c.stall); err != nil {
		return nil, err
	}
	if err := c.SetLimits(Limits{Requests: cfg.MaxRequests, WriteRate: cfg.WriteRate, Up: cfg.BandwidthUp, Down: cfg.BandwidthDown}); err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: c.wire, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	c.core, err = minio.NewCore(base.Host, &minio.Options{
		Creds: c.creds, Secure: base.Scheme == "https", Region: profile.Region, Transport: c.wire, MaxRetries: 1,
		BucketLookup: minio.BucketLookupPath, BucketLookupViaURL: c.lookup,
	})
	if err != nil {
		return nil, badConfig("endpoint %s: %v", profile.Endpoint, err)
	}
	return c, nil
}

// lookup tells minio-go the style of a bucket's URL, so that it and signed.go always agree.
func (c *Client) lookup(_ url.URL, bucket string) minio.BucketLookupType {
	if c.hostedStyle(bucket) {
		return minio.BucketLookupDNS
	}
	return minio.BucketLookupPath
}

// Profile says what the store can do.
func (c *Client) Profile() Profile {
	p := c.profile
	p.ListV1 = c.listV1.Load()
	return p
}

// Counters are the requests and bytes so far.
func (c *Client) Counters() *Counters { return &c.count }

// Close drops idle connections. Calls in flight go on.
func (c *Client) Close() error {
	c.wire.closeIdle()
	return nil
}
