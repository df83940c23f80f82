package keystone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Credential is an access key of a user for a project.
type Credential struct {
	Access            string
	Secret            Secret // known from Register alone
	ProjectID, UserID string
	// Created and Accessed are zero where the service does not say; Keystone does not.
	Created, Accessed time.Time
}

// wireCredential is one as the service writes it.
type wireCredential struct {
	Access   string          `json:"access"`
	Secret   string          `json:"secret"`
	TenantID string          `json:"tenant_id"`
	UserID   string          `json:"user_id"`
	Created  json.RawMessage `json:"created_at"`
	Accessed json.RawMessage `json:"accessed_at"`
}

func (c wireCredential) credential() Credential {
	return Credential{Access: c.Access, ProjectID: c.TenantID, UserID: c.UserID, Created: whenever(c.Created), Accessed: whenever(c.Accessed)}
}

// whenever reads a time that may be missing, null, or of another form.
func whenever(raw json.RawMessage) time.Time {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return time.Time{}
	}
	return at(text)
}

// path is that of the user's keys, or of one of them.
func (s *Session) path(access ...string) string {
	p := versionPath(s.Version) + "/users/" + url.PathEscape(s.User.ID) + "/credentials/OS-EC2"
	for _, a := range access {
		p += "/" + url.PathEscape(a)
	}
	return p
}

// Register makes a new key for the user and the project. It is usable at once. When the service gives no more the Kind is
// Limit, and the error has the keys there are.
func (s *Session) Register(ctx context.Context) (Credential, error) {
	const op = "register an access key"
	var v struct{ Credential wireCredential }
	_, err := s.wire.call(ctx, request{op: op, method: http.MethodPost, path: s.path(), token: s.token,
		body: map[string]string{"tenant_id": s.Project.ID}, into: &v, want: []int{200, 201}})
	if err != nil {
		return Credential{}, s.limited(ctx, err)
	}
	c := v.Credential.credential()
	c.Secret = Secret(v.Credential.Secret)
	e := &Error{Op: op, URL: s.wire.base + s.path(), Sent: true}
	switch {
	case c.Access == "" || c.Secret == "":
		e.Message = "the answer has no access key or no secret key"
		return Credential{}, e
	case c.ProjectID != s.Project.ID:
		e.Message = fmt.Sprintf("the key is for project %s", cut(c.ProjectID))
		return Credential{}, e
	}
	return c, nil
}

// limited makes a refusal a Limit where the user has as many keys as the service gives. Each version of the service words,
// and numbers, that refusal in its own way: so the keys are counted.
func (s *Session) limited(ctx context.Context, err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Kind != Forbidden && e.Kind != Invalid && e.Kind != Unknown || e.Sent {
		return err
	}
	keys, listErr := s.List(ctx)
	if listErr != nil {
		return err // the refusal says more than that the list was not given either
	}
	here := 0
	for _, k := range keys {
		if k.ProjectID == s.Project.ID {
			here++
		}
	}
	if here >= MostKeys {
		e.Kind, e.Keys = Limit, keys
	}
	return e
}

// List gives the user's keys, those for other projects too. The service sends the secrets along; they are dropped here.
func (s *Session) List(ctx context.Context) ([]Credential, error) {
	var v struct{ Credentials []wireCredential }
	_, err := s.wire.call(ctx, request{op: "list the access keys", method: http.MethodGet, path: s.path(), token: s.token, into: &v, want: []int{200}})
	if err != nil {
		return nil, err
	}
	all := make([]Credential, 0, len(v.Credentials))
	for _, c := range v.Credentials {
		all = append(all, c.credential())
	}
	return all, nil
}

// Get asks for one key; NotFound when there is none. The secret is dropped.
func (s *Session) Get(ctx context.Context, access string) (Credential, error) {
	const op = "read an access key"
	if err := s.named(op, access); err != nil {
		return Credential{}, err
	}
	var v struct{ Credential wireCredential }
	_, err := s.wire.call(ctx, request{op: op, method: http.MethodGet, path: s.path(access), token: s.token, into: &v, want: []int{200}})
	return v.Credential.credential(), s.absent(err)
}

// Delete takes a key away; NotFound when there is none. The store may take it for some time yet: Swift's proxies remember keys
// for a minute.
func (s *Session) Delete(ctx context.Context, access string) error {
	const op = "delete an access key"
	if err := s.named(op, access); err != nil {
		return err
	}
	_, err := s.wire.call(ctx, request{op: op, method: http.MethodDelete, path: s.path(access), token: s.token, want: []int{200, 204}})
	return s.absent(err)
}

// named refuses what would be another path.
func (s *Session) named(op, access string) error {
	if access == "" || access == "." || access == ".." {
		return &Error{Op: op, Kind: Invalid, Message: fmt.Sprintf("%q is no access key", access)}
	}
	return nil
}

// absent: a 404 whose body says nothing is that of the key all the same, since the way to it has worked before.
func (s *Session) absent(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		e.Kind = NotFound
	}
	return err
}
