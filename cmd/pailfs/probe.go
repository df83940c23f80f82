package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"pailfs/s3client"
)

// longestProbe bounds how long the first request is tried: somebody waits at the command line.
const longestProbe = 20 * time.Second

// storeConfig makes the store's configuration of the settings.
func storeConfig(command string, s *settings) (s3client.Config, error) {
	cfg := s3client.Config{
		Region: s.Region, Endpoint: s.Endpoint, Provider: s.Provider,
		Credentials:   s3client.CredentialsConfig{File: cmp.Or(s.CredentialsFile, credentialsOfUnit(os.Getenv)), Profile: s.Profile, Anonymous: s.Anonymous},
		CAFile:        s.CAFile,
		VirtualHosted: s.VirtualHosted,
		Timeout:       s.Timeout, MaxRequests: s.MaxRequests, WriteRate: s.WriteRate,
		BandwidthUp: s.Bandwidth.Up, BandwidthDown: s.Bandwidth.Down,
		UserAgent: "pailfs/" + buildInfo().Version,
	}
	s.Keys.fill(&cfg.Credentials)
	_, known := s3client.RegionByName(s.Region)
	if cfg.Endpoint != "" || known || s.Provider == "aws" && s.Region != "" {
		return cfg, nil
	}
	f := usagef(command, "neither region nor endpoint is given")
	f.hint = "--region NAME, PAILFS_REGION or -o region=NAME, one of " + regionNames() + "; or --endpoint URL of another S3 store"
	if s.Region != "" {
		f.message = "unknown region " + s.Region
		f.hint = "one of " + regionNames() + "; for another S3 store give --endpoint URL as well"
	}
	return cfg, f
}

func regionNames() string {
	var names []string
	for _, r := range s3client.Regions {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// openStore checks the configuration and prepares a client, without a request. The subject is what errors of this store
// are about.
func openStore(command, cannot, bucket string, s *settings) (*s3client.Client, s3client.Config, subject, error) {
	about := subject{command: command, cannot: cannot, bucket: bucket, region: s.Region, endpoint: s.Endpoint, now: time.Now}
	cfg, err := storeConfig(command, s)
	if err != nil {
		return nil, cfg, about, err
	}
	client, err := s3client.Open(cfg)
	if err != nil {
		return nil, cfg, about, about.storeFailure(err)
	}
	p := client.Profile()
	cfg.Region, cfg.Endpoint = p.Region, p.Endpoint
	about.region, about.endpoint = p.Region, p.Endpoint
	about.serverClock = func() (time.Time, bool) { return serverClock(p.Endpoint) }
	return client, cfg, about, nil
}

// probe proves with one cheap request that the store answers, accepts the credentials and has the bucket. It is tried
// for a short time only, with a client of its own, whose error then names the last cause. Empty: there is nothing to see yet.
func probe(ctx context.Context, cfg s3client.Config, bucket, prefix string) (empty bool, err error) {
	cfg.Timeout = min(cfg.Timeout, longestProbe)
	store, err := s3client.Open(cfg)
	if err != nil {
		return false, err
	}
	if bucket == "" {
		buckets, err := store.Buckets(ctx)
		return len(buckets) == 0, err
	}
	page, err := store.List(ctx, s3client.ListRequest{Bucket: bucket, Prefix: prefix, Max: 1})
	return len(page.Objects)+len(page.Prefixes) == 0 && page.Next == "", err
}

// serverClock reads the Date of any answer of the endpoint. The certificate is not checked: no secret is sent and nothing
// but the time is read, and with a wrong clock no certificate is valid.
func serverClock(endpoint string) (time.Time, bool) {
	transport := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			proxy, err := http.ProxyFromEnvironment(r)
			return untold(proxy), err
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // #nosec G402 -- see above
		DisableKeepAlives: true,
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(endpoint)
	if err != nil {
		return time.Time{}, false
	}
	resp.Body.Close()
	t, err := http.ParseTime(resp.Header.Get("Date"))
	return t, err == nil
}

// untold is a proxy without its password where TLS that is not checked leads to it: whoever stands there in its place would get it.
func untold(proxy *url.URL) *url.URL {
	if proxy == nil || proxy.Scheme != "https" || proxy.User == nil {
		return proxy
	}
	bare := *proxy
	bare.User = nil
	return &bare
}
