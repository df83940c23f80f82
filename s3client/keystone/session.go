package keystone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Project is what v2.0 calls a tenant.
type Project struct{ ID, Name string }

// User is who has signed in.
type User struct{ ID, Name string }

// Session is somebody who has signed in, for one project.
type Session struct {
	User    User
	Project Project
	Expires time.Time // of the token; zero when the service does not say
	Version int       // of the API: 2 or 3
	URL     string    // of the service, with the version

	wire    *wire
	token   Secret
	catalog []endpoint
}

// endpoint is one line of the catalog.
type endpoint struct{ service, region, iface, url string }

const opSignIn = "sign in"

// SignIn asks for a token. Who names no project gets the only one there is. Errors are *Error.
func SignIn(ctx context.Context, l Login, o Options) (*Session, error) {
	invalid := func(err error) error { return &Error{Op: opSignIn, Kind: Invalid, Err: err} }
	base, version, err := address(l.URL)
	if err != nil {
		return nil, invalid(err)
	}
	if !l.Signs() {
		return nil, invalid(errors.New("user and password are needed, or a token, or an application credential"))
	}
	w, err := newWire(base, l.CAFile, o)
	if err != nil {
		return nil, invalid(err)
	}
	w.secrets = l.secrets()
	if version == 0 {
		version = l.Version
	}
	if version == 0 {
		if version, err = w.newest(ctx); err != nil {
			return nil, err
		}
	}
	s := &Session{wire: w, Version: version, URL: base + versionPath(version)}
	if err := s.signIn(ctx, l); err != nil {
		return nil, err
	}
	if s.Project.ID == "" {
		if err := s.intoOnlyProject(ctx, l); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func versionPath(version int) string {
	if version == 2 {
		return "/v2.0"
	}
	return "/v3"
}

func (s *Session) signIn(ctx context.Context, l Login) error {
	var err error
	if s.Version == 2 {
		err = s.signInV2(ctx, l)
	} else {
		err = s.signInV3(ctx, l)
	}
	var e *Error
	switch {
	case err == nil:
		s.wire.secrets = append(s.wire.secrets, s.token)
	case errors.As(err, &e) && e.Kind == NotFound && l.Token != "":
		e.Kind = Refused // Keystone's word for a token that it does not know
	case errors.As(err, &e) && (e.Kind == NoAPI || e.Kind == NotFound):
		e.Kind = NoAPI // nothing else that was named can be missing: who is not known is refused
		e.Versions = s.wire.others(ctx, s.Version)
	}
	return err
}

// intoOnlyProject signs in once more, with the token and for the one project the user has.
func (s *Session) intoOnlyProject(ctx context.Context, l Login) error {
	projects, err := s.projects(ctx)
	if err != nil {
		return err
	}
	if len(projects) != 1 {
		return &Error{Op: opSignIn, Kind: NoProject, URL: s.URL, Projects: projects}
	}
	return s.signIn(ctx, Login{Token: s.token, ProjectID: projects[0].ID})
}

// projects are those of the user.
func (s *Session) projects(ctx context.Context) ([]Project, error) {
	type project struct{ ID, Name string }
	var v struct{ Projects, Tenants []project }
	path := "/v3/auth/projects"
	if s.Version == 2 {
		path = "/v2.0/tenants"
	}
	_, err := s.wire.call(ctx, request{op: "list the projects", method: http.MethodGet, path: path, token: s.token, into: &v, want: []int{200}})
	if err != nil {
		return nil, err
	}
	var all []Project
	for _, p := range append(v.Projects, v.Tenants...) {
		all = append(all, Project(p))
	}
	return all, nil
}

// versions asks the service which it has.
func (w *wire) versions(ctx context.Context) ([]int, error) {
	var v struct {
		Versions struct {
			Values []struct{ ID, Status string }
		}
	}
	// Keystone's root answers 300: choose one.
	_, err := w.call(ctx, request{op: "ask for the versions of the API", method: http.MethodGet, path: "/", into: &v, want: []int{200, 300}})
	if err != nil {
		return nil, err
	}
	var all []int
	for _, one := range v.Versions.Values {
		if n, err := versionOf(one.ID); err == nil && n != 0 && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return nil, &Error{Op: "ask for the versions of the API", Kind: NoAPI, Status: 200, URL: w.base + "/", Message: "the answer names none"}
	}
	return all, nil
}

// newest is the version to speak where nobody said one.
func (w *wire) newest(ctx context.Context) (int, error) {
	all, err := w.versions(ctx)
	if err != nil {
		return 0, err
	}
	return slices.Max(all), nil
}

// others are the versions that the service has, should it not have the one that was asked for. That nobody says so is no
// error: there is one already.
func (w *wire) others(ctx context.Context, not int) []int {
	all, err := w.versions(ctx)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(v int) bool { return v == not })
}

// Endpoint is the S3 address that the catalog tells for a region, "" when there is none. Swift's S3 API is at the host of its
// own one. A region of "" takes the only one there is.
func (s *Session) Endpoint(region, iface string) string {
	iface = strings.TrimSuffix(strings.ToLower(either(iface, "public")), "url")
	for _, service := range []string{"s3", "object-store"} {
		var found []string
		for _, e := range s.catalog {
			if e.service == service && e.iface == iface && (region == "" || strings.EqualFold(e.region, region)) && !slices.Contains(found, e.url) {
				found = append(found, e.url)
			}
		}
		if len(found) != 1 {
			continue
		}
		u, err := url.Parse(found[0])
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			continue
		}
		return u.Scheme + "://" + u.Host
	}
	return ""
}

// at reads a time of the service's; the zero time stands for what cannot be read.
func at(text string) time.Time {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05Z0700", time.DateTime} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// signed checks what a token's answer has to say.
func (s *Session) signed(op, url string) error {
	if s.token == "" || s.User.ID == "" {
		return &Error{Op: op, Kind: NoAPI, URL: url, Message: "the answer has no token or no user"}
	}
	return nil
}

// forProject says whether the session is for the project that was asked for. A service that answers with another one would
// register a key that the S3 API refuses.
func (s *Session) forProject(op string, l Login) error {
	switch {
	case s.Project.ID == "":
		if l.hasProject() {
			return &Error{Op: op, Kind: Refused, Message: "the token is for no project, though one was asked for"}
		}
	case l.ProjectID != "" && l.ProjectID != s.Project.ID:
		return &Error{Op: op, Kind: Unknown, Message: fmt.Sprintf("the token is for project %s", cut(s.Project.ID))}
	}
	return nil
}
