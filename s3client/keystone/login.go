package keystone

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
)

// Secret is a password, a token or a secret key. Reveal gives it away; nothing else does.
type Secret string

const notShown = "(not shown)"

// Reveal is the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Format keeps it out of messages whatever the verb, String out of what is joined, MarshalText out of JSON and LogValue out
// of logs.
func (s Secret) Format(f fmt.State, _ rune)   { io.WriteString(f, notShown) }
func (s Secret) String() string               { return notShown }
func (s Secret) MarshalText() ([]byte, error) { return []byte(notShown), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(notShown) }

// Login is who signs in where. In place of User and Password there may be a Token of somebody who has signed in already, or
// an application credential.
type Login struct {
	// URL is the service's address, with or without the version: https://HOST/v2.0, https://HOST:5000/v3, https://HOST/identity.
	URL string
	// Version is 2 or 3; 0 takes the URL's, or asks the service.
	Version int

	User, UserID             string
	Password                 Secret
	UserDomain, UserDomainID string // v3; without both the domain whose id is "default"

	Project, ProjectID             string // what v2.0 calls the tenant; without both the user's only one
	ProjectDomain, ProjectDomainID string // of Project, in v3

	Token Secret

	ApplicationID, ApplicationName string
	ApplicationSecret              Secret

	// Region and Interface say which endpoint of the catalog is meant; Interface is "public" if not given.
	Region, Interface string
	CAFile            string

	// From is where all this was found, for messages.
	From string
}

// Signs says whether there is all that signing in needs but the project.
func (l Login) Signs() bool {
	switch {
	case l.Token != "":
		return true
	case l.application():
		return l.ApplicationSecret != "" && (l.ApplicationID != "" || l.hasUser())
	}
	return l.hasUser() && l.Password != ""
}

func (l Login) hasUser() bool { return l.User != "" || l.UserID != "" }

func (l Login) application() bool { return l.ApplicationID != "" || l.ApplicationName != "" }

func (l Login) hasProject() bool { return l.Project != "" || l.ProjectID != "" }

// secrets are those that no message may repeat.
func (l Login) secrets() []Secret { return []Secret{l.Password, l.Token, l.ApplicationSecret} }

// Plain says whether the password goes over a network that others can listen to.
func (l Login) Plain() bool {
	u, err := url.Parse(l.URL)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// address takes an URL apart: the service's address without a version, and the version, 0 for none. What the documents
// show behind it (/tokens, /auth/tokens) may be there as well.
func address(raw string) (base string, version int, err error) {
	if !strings.Contains(raw, "://") && raw != "" {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "":
		return "", 0, errors.New("the identity service's address is no URL of the form https://HOST[:PORT][/v2.0|/v3]")
	case u.User != nil:
		return "", 0, errors.New("the identity service's address has a user or password in it, which have places of their own")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", 0, fmt.Errorf("the identity service's address begins with %q, neither https nor http", u.Scheme)
	case u.RawQuery != "" || u.Fragment != "":
		return "", 0, errors.New("the identity service's address has a ? or # in it")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	for _, tail := range []string{"/auth/tokens", "/tokens"} {
		path = strings.TrimSuffix(path, tail)
	}
	for suffix, v := range map[string]int{"/v2.0": 2, "/v3": 3} {
		if rest, ok := strings.CutSuffix(path, suffix); ok {
			path, version = rest, v
			break
		}
	}
	return u.Scheme + "://" + u.Host + path, version, nil
}
