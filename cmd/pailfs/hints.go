package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pailfs/s3client"
)

// subject is what a command was about when an error came: the words of its message and hints.
type subject struct {
	command  string // "mount"
	cannot   string // "open bucket data"
	region   string // as given, "" when only the endpoint was
	endpoint string // the address in use
	bucket   string
	// serverClock asks the store what time it is, for an answer that says only that the clocks differ. Nil: not asked.
	serverClock func() (time.Time, bool)
	now         func() time.Time
}

func (s subject) fail(code int, why, hint string) *failure {
	return &failure{code: code, command: s.command, message: fmt.Sprintf("cannot %s: %s", s.cannot, why), hint: hint}
}

// where names the store in a sentence.
func (s subject) where() string { return storeName(s.region, s.endpoint) }

// storeName is the region's name where the endpoint is the region's own, else the endpoint's host.
func storeName(region, endpoint string) string {
	if r, ok := s3client.RegionByName(region); ok && strings.EqualFold(r.Endpoint, endpoint) {
		return r.Name
	}
	return hostOf(endpoint)
}

func hostOf(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		return u.Host
	}
	return endpoint
}

// storeFailure says what an error of the store means to a user.
func (s subject) storeFailure(err error) *failure {
	var own *failure
	if errors.As(err, &own) {
		return own
	}
	var e *s3client.Error
	if !errors.As(err, &e) {
		if f := s.networkFailure(err); f != nil {
			return f
		}
		return s.fail(exitGeneral, err.Error(), "")
	}
	if f := s.refusal(e); f != nil {
		return f
	}
	switch e.Kind {
	case s3client.NotFound:
		return s.missing(e)
	case s3client.Denied:
		return s.fail(exitDenied, "the store denies it"+details(e), s.deniedHint())
	case s3client.Throttled:
		return s.fail(exitUnreachable, "the store asks to slow down"+details(e),
			"the account's limit of requests is used up: wait, or lower --write-rate and --max-requests of the hosts that share it")
	case s3client.Canceled:
		if errors.Is(err, context.DeadlineExceeded) {
			return s.fail(exitUnreachable, fmt.Sprintf("no answer from %s in time", hostOf(s.endpoint)), hintNetwork)
		}
		return s.fail(exitInterrupted, "interrupted", "")
	}
	if f := s.networkFailure(err); f != nil {
		return f
	}
	return s.answerFailure(e)
}

// answerFailure is for the kinds that say all themselves.
func (s subject) answerFailure(e *s3client.Error) *failure {
	switch e.Kind {
	case s3client.Temporary:
		if e.Status != 0 {
			return s.fail(exitUnreachable, fmt.Sprintf("the store answers with errors%s", details(e)),
				"the store is in trouble or something stands between: try again later, or ask its operator with the request id")
		}
		return s.fail(exitUnreachable, fmt.Sprintf("no answer from %s%s", hostOf(s.endpoint), causeOf(e)), hintNetwork)
	case s3client.Exists:
		return s.fail(exitGeneral, "it exists already"+details(e), "bucket names are shared: somebody else may have this one; choose another")
	case s3client.NotEmpty:
		return s.fail(exitGeneral, "it is not empty"+details(e), "delete its objects first, and its unfinished uploads: `pailfs uploads abort "+s.bucketOr("BUCKET")+
			"` takes those older than a day, with --older-than 0 all, also what mounts are writing now")
	case s3client.Unsupported:
		return s.fail(exitGeneral, "this store does not have that call"+details(e), "")
	case s3client.Invalid:
		hint := ""
		if e.Code == "InvalidBucketName" {
			hint = hintBucketName
		}
		return s.fail(exitGeneral, "the store does not accept the request"+details(e)+plainCause(e), hint)
	}
	return s.fail(exitGeneral, "unexpected answer"+details(e)+plainCause(e),
		fmt.Sprintf("is %s really the address of an S3 store? see --endpoint and --region", hostOf(s.endpoint)))
}

const (
	hintNetwork = "check the network between this host and the store: routes, firewall, the proxy in HTTPS_PROXY"
	hintNoCreds = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --credentials-file or --profile (~/.aws/credentials); " +
		"roles of containers and instances are asked as well; --anonymous for public buckets"
	hintClock      = "set the clock (timedatectl set-ntp true, or chronyd): requests are signed with the time"
	hintBucketName = "3 to 63 small letters, digits, hyphens and dots, with a letter or digit at both ends"
)

// refusal recognises the refusals that have a remedy of their own.
func (s subject) refusal(e *s3client.Error) *failure {
	switch {
	case e.Code == "NoCredentials":
		return s.fail(exitDenied, "no credentials found", hintNoCreds)
	case e.Code == "BadConfiguration":
		return s.fail(exitUsage, e.Message, "")
	case e.Code == "CredentialsFileMode":
		why, remedy, _ := strings.Cut(e.Message, "; run: ")
		return s.fail(exitDenied, why, remedy)
	case e.Code == "AuthorizationHeaderMalformed" || s.elsewhere(e):
		return s.wrongRegion(e)
	case e.Code == "SignatureDoesNotMatch" || e.Code == "InvalidAccessKeyId" || e.Code == "XAdminUserNotFound":
		return s.fail(exitDenied, "the store does not know these credentials"+details(e), fmt.Sprintf(
			"check access key and secret key, and that they were issued for %s: an unknown key, a wrong secret and a key of another region look the same", s.where()))
	case e.Code == "ExpiredToken" || e.Code == "InvalidToken" || e.Code == "TokenRefreshRequired":
		return s.fail(exitDenied, "the session token is not valid any more"+details(e), "get new credentials; AWS_SESSION_TOKEN may be left over from an old session")
	case e.Code == "RequestTimeTooSkewed":
		return s.skewedClock(e)
	}
	return nil
}

// elsewhere says whether the answer points to another region. Some stores name the bucket's region in every answer.
func (s subject) elsewhere(e *s3client.Error) bool {
	if e.Region == "" || strings.EqualFold(e.Region, s.region) {
		return false
	}
	switch e.Status {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect, http.StatusBadRequest:
		return true
	}
	return false
}

func (s subject) wrongRegion(e *s3client.Error) *failure {
	region := s.region
	if region == "" {
		region = "the default region"
	}
	why := fmt.Sprintf("%s is not the region of %s%s", region, hostOf(s.endpoint), details(e))
	if e.Region == "" {
		return s.fail(exitDenied, why, "give the region that the store signs with: --region NAME")
	}
	return s.fail(exitDenied, why, "--region "+e.Region)
}

func (s subject) skewedClock(e *s3client.Error) *failure {
	if s.serverClock != nil {
		if t, ok := s.serverClock(); ok {
			return s.fail(exitDenied, fmt.Sprintf("this host's clock is %s%s", clockOff(s.now().Sub(t)), details(e)), hintClock)
		}
	}
	return s.fail(exitDenied, "this host's clock and the store's differ too much"+details(e), hintClock)
}

// clockOff says by how much a clock is off: positive is fast.
func clockOff(d time.Duration) string {
	word := "fast"
	if d < 0 {
		d, word = -d, "slow"
	}
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days %s", int(d.Hours()/24), word)
	}
	return fmt.Sprintf("%v %s", d.Round(time.Second), word)
}

func (s subject) missing(e *s3client.Error) *failure {
	if s.bucket != "" && (e.Code == "" || e.Code == "NoSuchBucket") {
		return s.fail(exitNotFound, fmt.Sprintf("no bucket %s in %s", s.bucket, s.where()), fmt.Sprintf(
			"`pailfs bucket list` shows the account's buckets, `pailfs bucket create %s` makes this one; a bucket lives in one region", s.bucket))
	}
	if e.Code == "NoSuchUpload" {
		return s.fail(exitNotFound, "there is no such upload"+details(e), "")
	}
	return s.fail(exitNotFound, "not found"+details(e), fmt.Sprintf("is %s the address of an S3 store? see --endpoint", hostOf(s.endpoint)))
}

func (s subject) deniedHint() string {
	if s.bucket == "" {
		return "these credentials may not list the account's buckets: name a bucket"
	}
	return fmt.Sprintf("these credentials have no right to do this with %s: ask the bucket's owner", s.bucket)
}

func (s subject) bucketOr(other string) string {
	if s.bucket != "" {
		return s.bucket
	}
	return other
}

// details are the store's own words, for the operator of the store: status, code, request id.
func details(e *s3client.Error) string {
	var parts []string
	if e.Status != 0 || e.Code != "" {
		status := e.Code
		if e.Status != 0 {
			status = strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, e.Code))
		}
		parts = append(parts, status)
	}
	if e.Message != "" && e.Kind != s3client.Denied {
		parts = append(parts, e.Message)
	}
	if e.RequestID != "" {
		parts = append(parts, "request "+e.RequestID)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func causeOf(e *s3client.Error) string {
	if e.Err == nil {
		return ""
	}
	return " (" + e.Err.Error() + ")"
}

// plainCause adds the cause of an error that never got an answer.
func plainCause(e *s3client.Error) string {
	if e.Status != 0 || e.Err == nil || e.Message != "" {
		return ""
	}
	return ": " + e.Err.Error()
}
