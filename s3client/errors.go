package s3client

import (
	"errors"
	"fmt"
)

// Kind says what an error means to a caller. Kinds are errors themselves: errors.Is(err, s3client.NotFound).
type Kind int

const (
	// Unknown is an answer nobody foresaw: EIO, never "not found".
	Unknown Kind = iota
	NotFound
	Exists
	NotEmpty
	// Changed: the version asked for is gone (412 to an If-Match).
	Changed
	// Denied: 401 or 403; the credentials or their rights.
	Denied
	// Throttled: the store asked to slow down until the deadline was over.
	Throttled
	// Temporary: 5xx, time-outs, broken connections, until the deadline was over; of a write also a refusal behind one of
	// those. It may have been carried out.
	Temporary
	TooLarge
	// Unsupported: the store does not have this call (501).
	Unsupported
	// Invalid: the request can never succeed (400, a name the store refuses).
	Invalid
	// Canceled: the caller's context ended first.
	Canceled
)

var kindNames = [...]string{"unknown answer", "not found", "exists already", "not empty", "changed meanwhile", "denied",
	"throttled", "temporary failure", "too large", "not supported by the store", "invalid", "canceled"}

// Kinds are all kinds, for tables that must be total.
func Kinds() []Kind {
	ks := make([]Kind, len(kindNames))
	for i := range ks {
		ks[i] = Kind(i)
	}
	return ks
}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// Error makes a Kind a target for errors.Is.
func (k Kind) Error() string { return k.String() }

// Error is a call that failed.
type Error struct {
	Op          string // the call: "GET Object", "List Objects", ...
	Bucket, Key string
	Kind        Kind
	Status      int    // HTTP status, 0 without an answer
	Code        string // the store's code: NoSuchKey, SlowDown, ...
	Message     string // the store's words
	RequestID   string // x-amz-request-id or x-trans-id, for the operator of the store; "" without an answer
	Region      string // the region the store expects, with AuthorizationHeaderMalformed
	Err         error  // the cause
}

func (e *Error) Error() string {
	s := e.Op
	if e.Bucket != "" {
		s += " " + e.Bucket
		if e.Key != "" {
			s += "/" + e.Key
		}
	}
	s += ": " + e.Kind.String()
	switch {
	case e.Code != "" && e.Status != 0:
		s += fmt.Sprintf(" (%d %s", e.Status, e.Code)
	case e.Code != "":
		s += " (" + e.Code
	case e.Status != 0:
		s += fmt.Sprintf(" (%d", e.Status)
	default:
		if e.Err != nil {
			s += ": " + e.Err.Error()
		}
		if e.RequestID != "" { // the answer broke off
			s += " (request " + e.RequestID + ")"
		}
		return s
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.RequestID != "" {
		s += ", request " + e.RequestID
	}
	return s + ")"
}

func (e *Error) Unwrap() error { return e.Err }

// Is matches a Kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// KindOf is the kind of an error; Unknown when it is not from this package.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Unknown
}
