package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// The checks of the store, in their order. What is behind one that failed for good is "not checked".
const (
	checkConfiguration = "configuration"
	checkCredentials   = "credentials"
	checkName          = "name"
	checkConnection    = "connection"
	checkTLS           = "TLS"
	checkClock         = "clock"
	checkSignIn        = "sign-in"
	checkBuckets       = "buckets"
)

// patient is the configuration for one question: somebody waits at the command line.
func (d *doctor) patient() *settings {
	s := *d.s
	s.Timeout = min(s.Timeout, longestProbe)
	return &s
}

// checkStore goes the way of a request step by step, and then asks what these credentials may do.
func (d *doctor) checkStore(ctx context.Context) {
	s := d.patient()
	client, _, about, err := openStore("doctor", "check it", "", s)
	if err != nil { // without credentials the way to the store can be looked at all the same
		unsigned := *s
		unsigned.Anonymous = true
		var again error
		if client, _, about, again = openStore("doctor", "check it", "", &unsigned); again != nil {
			d.failBy(areaStore, checkConfiguration, failureOf(again))
			d.skip("the configuration cannot work", areaStore, checkCredentials, checkName, checkConnection, checkTLS, checkClock, checkSignIn, checkBuckets)
			d.blocked = "the configuration cannot work"
			d.checkBucket(ctx, nil, about)
			return
		}
	}
	defer client.Close()
	p := client.Profile()
	d.found(areaStore, checkConfiguration, "%s, region %s, provider %s", p.Endpoint, shown(p.Region), p.Name)
	d.checkCredentials(client, about, err)
	d.checkWay(ctx, client, about)
	d.checkAccess(ctx, client, about)
	about.bucket = d.bucket
	d.checkBucket(ctx, client, about)
	d.tellCapabilities(client)
}

// checkCredentials says where the access keys are from. failed is why there are none.
func (d *doctor) checkCredentials(client *s3client.Client, about subject, failed error) {
	var keys s3client.Keys
	if failed == nil {
		keys, failed = client.Keys()
	}
	switch {
	case failed != nil:
		d.failBy(areaStore, checkCredentials, about.storeFailure(failed))
		d.blocked = "there are no credentials"
	case d.s.Anonymous:
		d.found(areaStore, checkCredentials, "none, as --anonymous says: public buckets can be read")
	case keys.Blank:
		d.warn(areaStore, checkCredentials, "take the blank or line break away", "from %s: the key or its secret begins or ends with a blank", keys.Where)
	default:
		what := "access key"
		if keys.Access != "..." {
			what += " " + shown(keys.Access)
		}
		if keys.Session {
			what += ", with a session token,"
		}
		d.found(areaStore, checkCredentials, "%s from %s", what, keys.Where)
	}
}

// checkWay says how far the way to the endpoint leads: name, connection, TLS; and what time it is there.
func (d *doctor) checkWay(ctx context.Context, client *s3client.Client, about subject) {
	limited, cancel := context.WithTimeout(ctx, d.patient().Timeout)
	defer cancel()
	r, err := client.Reach(limited)
	reached := d.tellWay(r, err, about)
	switch {
	case ctx.Err() != nil:
		d.blocked = "interrupted"
	case !reached:
		d.blocked = "the store cannot be reached"
	}
	// A clock that is wrong makes certificates invalid: it is looked at in any case, if only something answers.
	date, known := r.Date, !r.Date.IsZero()
	if !known && r.Address != "" && r.Proxy == "" && limited.Err() == nil {
		date, known = serverClock(client.Profile().Endpoint)
	}
	if !known {
		d.skip(cmp.Or(d.blocked, "the store does not say what time it is"), areaStore, checkClock)
		return
	}
	d.clock(date)
}

// tellWay tells each step, and whether an answer came at the end.
func (d *doctor) tellWay(r s3client.Reached, err error, about subject) bool {
	u, _ := url.Parse(about.endpoint) // it has been parsed before
	host, via := u.Hostname(), ""
	if r.Proxy != "" {
		host, via = r.Proxy, " of the proxy "+shown(r.Proxy)
	}
	fail := func(check string) bool {
		f := about.storeFailure(err)
		if r.Proxy != "" {
			f.hint += "; the way leads through the proxy " + shown(r.Proxy) + " (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)"
		}
		d.failBy(areaStore, check, f)
		return false
	}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		fail(checkName)
		d.skip("the name is not known", areaStore, checkConnection, checkTLS)
		return false
	case len(r.Addresses) > 0:
		d.found(areaStore, checkName, "%s%s is %s", shown(host), via, strings.Join(r.Addresses, ", "))
	case net.ParseIP(host) != nil:
		d.found(areaStore, checkName, "%s needs no lookup", host)
	default:
		d.skip("there was nothing to look up", areaStore, checkName)
	}
	if r.Address == "" && err != nil {
		fail(checkConnection)
		d.skip("there is no connection", areaStore, checkTLS)
		return false
	}
	says := fmt.Sprintf("to %s%s in %v", r.Address, via, r.Connect.Round(100*time.Microsecond))
	if r.Status != 0 {
		says += fmt.Sprintf(", an answer in %v", r.Answer.Round(100*time.Microsecond))
		if r.Server != "" {
			says += " by " + shown(r.Server)
		}
	}
	if err != nil && (r.Secure || u.Scheme == "http") { // connected, and encrypted where that is wanted: no answer
		fail(checkConnection)
		d.skip("there is no answer", areaStore, checkTLS)
		return false
	}
	d.found(areaStore, checkConnection, "%s", says)
	if err != nil {
		return fail(checkTLS)
	}
	d.tellTLS(r, u)
	return true
}

func (d *doctor) tellTLS(r s3client.Reached, u *url.URL) {
	const soon = 14 * 24 * time.Hour
	ip := net.ParseIP(u.Hostname())
	switch {
	case !r.Secure && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()):
		d.found(areaStore, checkTLS, "none: the store is on this host")
	case !r.Secure:
		d.warn(areaStore, checkTLS, "give --endpoint https://... if the store has it", "none: who is on the way sees all that is read and written")
	case r.Until.Sub(d.now()) < soon:
		d.warn(areaStore, checkTLS, "the store's operator has to renew it", "%s; the certificate ends on %s", r.Version, r.Until.Format(time.DateOnly))
	default:
		d.found(areaStore, checkTLS, "%s, a certificate by %s until %s", r.Version, shown(r.Issuer), r.Until.Format(time.DateOnly))
	}
}

// clock says how far this host's clock is from the store's, whose Date has whole seconds.
func (d *doctor) clock(date time.Time) {
	const refused, odd = 15 * time.Minute, time.Minute
	off := d.now().Sub(date)
	switch {
	case off.Abs() >= refused:
		d.fail(areaStore, checkClock, hintClock, "%s: the store refuses what is signed more than 15 minutes away from its own time", clockOff(off))
	case off.Abs() >= odd:
		d.warn(areaStore, checkClock, hintClock, "%s: beyond 15 minutes (some stores: 5) the store refuses all requests", clockOff(off))
	default:
		d.found(areaStore, checkClock, "agrees with the store's")
	}
}

// checkAccess proves that the store accepts the signature, by the list of the account's buckets.
func (d *doctor) checkAccess(ctx context.Context, client *s3client.Client, about subject) {
	if d.blocked != "" {
		d.skip(d.blocked, areaStore, checkSignIn, checkBuckets)
		return
	}
	buckets, err := client.Buckets(ctx)
	var e *s3client.Error
	switch {
	case err == nil:
		if !d.s.Anonymous {
			d.found(areaStore, checkSignIn, "accepted, signed for region %s", shown(client.Profile().Region))
		}
		d.tellBuckets(buckets)
	case errors.As(err, &e) && e.Kind == s3client.Denied && about.refusal(e) == nil:
		d.skip("only a bucket can show it", areaStore, checkSignIn)
		d.warn(areaStore, checkBuckets, "name the bucket: a mount of the whole account shows none", "these credentials may not list the account's buckets%s", details(e))
	default:
		d.refused(areaStore, checkSignIn, about, err)
		d.skip(cmp.Or(d.blocked, "the store did not give the list"), areaStore, checkBuckets)
	}
}

// tellBuckets counts buckets, and names those that no directory can be.
func (d *doctor) tellBuckets(buckets []s3client.Bucket) {
	var hidden []string
	for _, b := range buckets {
		if !tree.BucketShown(b.Name) {
			hidden = append(hidden, shown(b.Name))
		}
	}
	there := slices.ContainsFunc(buckets, func(b s3client.Bucket) bool { return b.Name == d.bucket })
	says := fmt.Sprintf("%d", len(buckets))
	switch {
	case d.bucket != "" && there:
		says += ", " + shown(d.bucket) + " is one of them"
	case d.bucket != "":
		says += "; " + shown(d.bucket) + " is none of them: it may be another account's"
	}
	f := finding{Area: areaStore, Check: checkBuckets, State: isOK, Says: says}
	if len(hidden) > 0 { // parts of large objects, as a rule: nothing to be done about it
		f.Says += fmt.Sprintf("; %d are not shown as directories, since the S3 API cannot open them:", len(hidden))
		f.More = firstOf(hidden, 10)
	}
	d.add(f)
}

// firstOf are the first lines of many, and how many more there are.
func firstOf(lines []string, most int) []string {
	if len(lines) <= most {
		return lines
	}
	return append(slices.Clone(lines[:most]), fmt.Sprintf("and %d more", len(lines)-most))
}

// tellCapabilities says what is known of this kind of store.
func (d *doctor) tellCapabilities(client *s3client.Client) {
	const area = "capabilities"
	if d.blocked != "" {
		return // nothing has shown what it is
	}
	c := d.capabilities()
	c.Profile = client.Profile()
	p := c.Profile
	if p.Name == "generic" {
		d.found(area, "provider", "generic: the address is no known one's, so the narrowest limits are kept; --provider names another")
	} else {
		d.found(area, "provider", "%s", p.Name)
	}
	switch {
	case p.ListV1:
		d.found(area, "listings", "version 1: the store does not know version 2")
	case d.bucket == "":
		d.skip("only a bucket can show which version the store knows", area, "listings")
	default:
		d.found(area, "listings", "version 2")
	}
	d.found(area, "uploads", "parts of %s to %s, at most %d: files of up to %s; %s in one request", formatSize(p.MinPart), formatSize(p.MaxPart), p.MaxParts,
		formatSize(upload.LimitsOf(p, 0).Largest()), formatSize(p.MaxPut))
	d.found(area, "copies", "in the store, up to %s at once, larger ones in parts%s", formatSize(p.MaxCopy), tried(c.ConditionalCopy, "whether they can be pinned to a version", "pinned to the source's version", "not pinned to a version: the store ignores it"))
	d.found(area, "completion", "of uploads%s", tried(c.ConditionalComplete, "whether it can spare what is there", "spares an object that is there, if asked to", "replaces an object that is there: the store knows no condition"))
	d.found(area, "metadata", "a value of %s, %s in all", bytesText(p.MaxMetaValue), bytesText(p.MaxMeta))
}

func bytesText(n int) string { return fmt.Sprintf("%d bytes", n) }

// tried says what came of a trial.
func tried(outcome *bool, whether, yes, no string) string {
	switch {
	case outcome == nil:
		return "; --write finds out " + whether
	case *outcome:
		return "; " + yes
	}
	return "; " + no
}

func (d *doctor) capabilities() *capabilities {
	if d.report.Capabilities == nil {
		d.report.Capabilities = &capabilities{}
	}
	return d.report.Capabilities
}
