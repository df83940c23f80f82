package keystone

import (
	"context"
	"net/http"
)

// defaultDomain is the id of the domain that every Keystone begins with, and that v2.0 lives in.
const defaultDomain = "default"

type object = map[string]any

// signInV3 is POST /v3/auth/tokens.
func (s *Session) signInV3(ctx context.Context, l Login) error {
	identity := object{}
	switch {
	case l.Token != "":
		identity["methods"] = []string{"token"}
		identity["token"] = object{"id": l.Token.Reveal()}
	case l.application():
		identity["methods"] = []string{"application_credential"}
		identity["application_credential"] = l.applicationV3()
	default:
		user := l.userV3()
		user["password"] = l.Password.Reveal()
		identity["methods"] = []string{"password"}
		identity["password"] = object{"user": user}
	}
	auth := object{"identity": identity}
	switch {
	case l.application(): // it has a project
	case l.ProjectID != "":
		auth["scope"] = object{"project": object{"id": l.ProjectID}}
	case l.Project != "":
		// A project is looked for where the user is, unless its domain is named.
		auth["scope"] = object{"project": object{"name": l.Project,
			"domain": domain(l.ProjectDomainID, l.ProjectDomain, l.UserDomainID, l.UserDomain)}}
	}
	const path = "/v3/auth/tokens"
	var v struct{ Token tokenV3 }
	header, err := s.wire.call(ctx, request{op: opSignIn, method: http.MethodPost, path: path, body: object{"auth": auth}, into: &v, want: []int{200, 201}})
	if err != nil {
		return err
	}
	s.token = Secret(header.Get("X-Subject-Token"))
	s.take(v.Token)
	if err := s.signed(opSignIn, s.wire.base+path); err != nil {
		return err
	}
	return s.forProject(opSignIn, l)
}

type tokenV3 struct {
	ExpiresAt string `json:"expires_at"`
	User      struct{ ID, Name string }
	Project   struct{ ID, Name string }
	Catalog   []struct {
		Type      string
		Endpoints []struct {
			Interface, Region, URL string
			RegionID               string `json:"region_id"`
		}
	}
}

func (s *Session) take(t tokenV3) {
	s.Expires, s.User, s.Project = at(t.ExpiresAt), User(t.User), Project(t.Project)
	s.catalog = nil
	for _, service := range t.Catalog {
		for _, e := range service.Endpoints {
			s.catalog = append(s.catalog, endpoint{service.Type, either(e.RegionID, e.Region), e.Interface, e.URL})
		}
	}
}

func (l Login) userV3() object {
	if l.UserID != "" {
		return object{"id": l.UserID}
	}
	return object{"name": l.User, "domain": domain(l.UserDomainID, l.UserDomain)}
}

func (l Login) applicationV3() object {
	o := object{"secret": l.ApplicationSecret.Reveal()}
	if l.ApplicationID != "" {
		o["id"] = l.ApplicationID
		return o
	}
	o["name"], o["user"] = l.ApplicationName, l.userV3()
	return o
}

// domain is the first that is given, of pairs of id and name.
func domain(pairs ...string) object {
	for i := 0; i+1 < len(pairs); i += 2 {
		switch {
		case pairs[i] != "":
			return object{"id": pairs[i]}
		case pairs[i+1] != "":
			return object{"name": pairs[i+1]}
		}
	}
	return object{"id": defaultDomain}
}
