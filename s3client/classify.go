package s3client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// badConfig is an error of a configuration that cannot work.
func badConfig(format string, args ...any) *Error {
	return &Error{Op: "configuration", Kind: Invalid, Code: "BadConfiguration", Message: fmt.Sprintf(format, args...)}
}

// failed is an error of a call that this package itself found out.
func failed(o op, kind Kind, code, format string, args ...any) *Error {
	return &Error{Op: o.name, Bucket: o.bucket, Key: o.key, Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// answerError is the <Error> document of an answer.
type answerError struct {
	code, message, requestID, region string
	foreign                          bool // a body that is not the store's XML
}

// codeKinds are the codes that say more than their status.
var codeKinds = map[string]Kind{
	"NoSuchBucket": NotFound, "NoSuchKey": NotFound, "NoSuchUpload": NotFound, "NoSuchVersion": NotFound,

	"BucketAlreadyExists": Exists, "BucketAlreadyOwnedByYou": Exists,
	"BucketNotEmpty": NotEmpty,

	"PreconditionFailed": Changed,

	"AccessDenied": Denied, "AccountProblem": Denied, "AllAccessDisabled": Denied, "AuthorizationHeaderMalformed": Denied,
	"AuthorizationQueryParametersError": Denied, "CredentialsNotSupported": Denied, "ExpiredToken": Denied,
	"ExpiredTokenException": Denied, "InvalidAccessKeyId": Denied, "InvalidSecurity": Denied, "InvalidToken": Denied,
	"NotSignedUp": Denied, "RequestTimeTooSkewed": Denied, "SignatureDoesNotMatch": Denied, "TokenRefreshRequired": Denied,
	"XAdminUserNotFound": Denied, // versitygw, of an access key that nobody has, with the status 404
	"ObjectLocked":       Denied, "InvalidObjectState": Denied,

	"SlowDown": Throttled, "SlowDownRead": Throttled, "SlowDownWrite": Throttled, "Throttling": Throttled,
	"ThrottlingException": Throttled, "RequestThrottled": Throttled, "RequestLimitExceeded": Throttled,
	"TooManyRequests": Throttled, "BandwidthLimitExceeded": Throttled, "Busy": Throttled,

	"InternalError": Temporary, "ServiceUnavailable": Temporary, "RequestTimeout": Temporary, "OperationAborted": Temporary,
	"ConditionalRequestConflict": Temporary, "BadDigest": Temporary, "XAmzContentSHA256Mismatch": Temporary,
	"IncompleteBody": Temporary, "XMinioServerNotInitialized": Temporary,

	"EntityTooLarge": TooLarge, "MaxMessageLengthExceeded": TooLarge, "QuotaExceeded": TooLarge,

	"EntityTooSmall": Invalid, "InvalidArgument": Invalid, "InvalidBucketName": Invalid, "InvalidDigest": Invalid,
	"InvalidLocationConstraint": Invalid, "InvalidPart": Invalid, "InvalidPartOrder": Invalid, "InvalidRange": Invalid,
	"InvalidRequest": Invalid, "InvalidStorageClass": Invalid, "InvalidURI": Invalid, "KeyTooLongError": Invalid,
	"MalformedXML": Invalid, "MetadataTooLarge": Invalid, "MissingSecurityHeader": Invalid, "TooManyBuckets": Invalid,

	"NotImplemented": Unsupported, "MethodNotAllowed": Unsupported, "APINotSupported": Unsupported,
	"AccessControlListNotSupported": Unsupported,
}

// kindOf is the kind of an answer that is an error. It is total: what is not known is Unknown, and only a 404 or 410, or
// an error document under a 200, can be NotFound.
func kindOf(status int, code string) Kind {
	byCode, known := codeKinds[code]
	switch {
	case status == http.StatusNotImplemented:
		return Unsupported
	case status == http.StatusTooManyRequests:
		return Throttled
	case status >= 500:
		if byCode == Throttled {
			return Throttled
		}
		return Temporary
	case status == http.StatusForbidden && byCode == TooLarge:
		return TooLarge // QuotaExceeded of Ceph
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Denied
	case status == http.StatusNotFound && byCode == Denied:
		return Denied // nobody is told that a file is not there because his key is not
	case status == http.StatusNotFound, status == http.StatusGone:
		return NotFound
	case status == http.StatusPreconditionFailed:
		return Changed // Swift's code beside it is InvalidRequest
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == 499:
		return Temporary
	case known && (byCode != NotFound || status < 300):
		return byCode
	}
	switch status {
	case http.StatusMethodNotAllowed:
		return Unsupported
	case http.StatusRequestEntityTooLarge:
		return TooLarge
	case http.StatusLocked:
		return Denied
	case http.StatusBadRequest, http.StatusNotAcceptable, http.StatusLengthRequired, http.StatusRequestURITooLong,
		http.StatusUnsupportedMediaType, http.StatusRequestedRangeNotSatisfiable, http.StatusExpectationFailed,
		http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge,
		// A redirect: the endpoint is another region's.
		http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return Invalid
	}
	return Unknown
}

// failure makes the *Error of an attempt that ended with err. ctx is the caller's.
func (c *Client) failure(ctx context.Context, o op, at *attempt, err error) *Error {
	e := &Error{Op: o.name, Bucket: o.bucket, Key: o.key, Err: err}
	if cerr := ctx.Err(); cerr != nil {
		e.Kind, e.Err = Canceled, cerr
		return e
	}
	var own *Error
	var said minio.ErrorResponse
	switch {
	case at.sourceErr() != nil:
		// What we were to send could not be read; trying again is the owner's business.
		e.Err = at.sourceErr()
		e.Kind, e.Code, e.Message = KindOf(e.Err), "SourceFailed", "cannot read what is to be stored: "+e.Err.Error()
		return e
	case errors.As(err, &own):
		e.RequestID = at.requestID()
		return completed(*own, e)
	case at.err != nil:
		brokenConnection(e, at.err)
		return e
	case at.status >= 300 || at.answer != nil:
		answered(e, o, at)
		return e
	case at.readErr() != nil:
		brokenConnection(e, at.readErr())
		e.RequestID = at.requestID()
		return e
	case at.status != 0 && errors.As(err, &said) && said.Code != "" && !strings.HasPrefix(said.Code, strconv.Itoa(at.status)):
		at.answer = &answerError{code: said.Code, message: said.Message, requestID: said.RequestID, region: said.Region}
		answered(e, o, at)
		return e
	case at.status != 0:
		e.Status, e.Code, e.Message = at.status, "UnknownAnswer", err.Error()
		e.RequestID = at.requestID()
		return e
	}
	// Refused before it was sent: a name or a size that no store takes.
	e.Kind, e.Code, e.Message = Invalid, "InvalidRequest", err.Error()
	return e
}

// completed fills the gaps of an error that was made where less was known.
func completed(own Error, e *Error) *Error {
	if own.Op == "" {
		own.Op = e.Op
	}
	if own.Bucket == "" {
		own.Bucket, own.Key = e.Bucket, e.Key
	}
	if own.RequestID == "" {
		own.RequestID = e.RequestID
	}
	return &own
}

const (
	// longWord and longMessage bound what of a store's words goes into an error: it may stand in a log many times.
	longWord    = 200
	longMessage = 1000
)

func bounded(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// answered fills in what the store said.
func answered(e *Error, o op, at *attempt) {
	e.Status, e.RequestID = at.status, at.requestID()
	if at.header != nil {
		e.Region = bounded(at.header.Get("X-Amz-Bucket-Region"), longWord)
	}
	if a := at.answer; a != nil {
		e.Code, e.Message = bounded(a.code, longWord), bounded(a.message, longMessage)
		if a.requestID != "" {
			e.RequestID = bounded(a.requestID, longWord)
		}
		if a.region != "" {
			e.Region = bounded(a.region, longWord)
		}
		if a.foreign && at.status < 500 && at.status != http.StatusTooManyRequests {
			// Not the store's words, so a 404 says nothing about the key.
			e.Kind, e.Code = Unknown, "UnknownAnswer"
			return
		}
	}
	e.Kind = kindOf(at.status, e.Code)
	if e.Kind == Unknown && at.status == http.StatusConflict && e.Code == "" {
		e.Kind = o.conflict
	}
}

// brokenConnection fills in an exchange that did not come to an answer, or whose answer broke off.
func brokenConnection(e *Error, err error) {
	e.Err, e.Kind = err, Temporary
	var bad *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.As(err, &bad), errors.As(err, &unknown), errors.As(err, &host):
		e.Kind, e.Code, e.Message = Unknown, "BadCertificate", err.Error()
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		e.Kind, e.Code, e.Message = Invalid, "NotHTTPS", "the endpoint does not speak https: "+err.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Code, e.Message = "NoSuchHost", err.Error()
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		e.Err = fmt.Errorf("connection closed before the answer: %w", io.ErrUnexpectedEOF)
	}
}

// retryAfter reads the header of that name, seconds or a date; 0 without one.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if s, err := strconv.Atoi(v); err == nil {
		return max(0, time.Duration(min(s, 3600))*time.Second)
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}
