package keystone

import "fmt"

// Kind says what an error means to a caller. Kinds are errors themselves: errors.Is(err, keystone.Limit).
type Kind int

const (
	// Unknown is an answer nobody foresaw.
	Unknown Kind = iota
	// Refused: 401. User, password, domain or project; or a token that is not valid any more.
	Refused
	// SecondFactor: the password is right, and the service wants more than it.
	SecondFactor
	// Forbidden: 403. Signed in, without the right to do this.
	Forbidden
	// Limit: the user has as many keys for the project as the service gives.
	Limit
	// NotFound: there is no such key.
	NotFound
	// NoAPI: nothing at this address answers as an identity service of this version does.
	NoAPI
	// NoProject: the user has several projects, or none, and none was named.
	NoProject
	// Unavailable: 5xx, 429, or no answer.
	Unavailable
	// Invalid: what was given cannot be sent.
	Invalid
)

var kindNames = [...]string{"unknown answer", "not accepted", "a second factor is wanted", "forbidden", "no more keys", "not found",
	"no identity service", "no project", "not available", "invalid"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// Error makes a Kind a target for errors.Is.
func (k Kind) Error() string { return k.String() }

// MostKeys is how many keys the service gives a user for a project.
const MostKeys = 3

// Error is a call that failed. No secret is in it.
type Error struct {
	Op       string // "sign in", "register an access key", ...
	Kind     Kind
	Status   int    // HTTP status, 0 without an answer
	Message  string // the service's words
	URL      string // what was asked
	Versions []int  // with NoAPI: the versions that the service has all the same
	// Projects are those to choose from, with NoProject; Keys those that are there, with Limit.
	Projects []Project
	Keys     []Credential
	// Sent: the request left this host, and what became of it is not known.
	Sent bool
	Err  error // the cause
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Kind.String()
	if e.Status != 0 {
		s += fmt.Sprintf(" (%d)", e.Status)
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Is matches a Kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}
