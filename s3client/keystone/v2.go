package keystone

import (
	"context"
	"net/http"
	"strings"
)

// signInV2 is POST /v2.0/tokens.
func (s *Session) signInV2(ctx context.Context, l Login) error {
	auth := map[string]any{}
	switch {
	case l.Token != "":
		auth["token"] = map[string]string{"id": l.Token.Reveal()}
	case l.application():
		return &Error{Op: opSignIn, Kind: Invalid, Message: "application credentials need version 3 of the API"}
	default:
		who := map[string]string{"password": l.Password.Reveal()}
		if l.UserID != "" {
			who["userId"] = l.UserID
		} else {
			who["username"] = l.User
		}
		auth["passwordCredentials"] = who
	}
	switch {
	case l.ProjectID != "":
		auth["tenantId"] = l.ProjectID
	case l.Project != "":
		auth["tenantName"] = l.Project
	}
	var v struct {
		Access struct {
			Token struct {
				ID, Expires string
				Tenant      struct{ ID, Name string }
			}
			User           struct{ ID, Name, Username string }
			ServiceCatalog []struct {
				Type      string
				Endpoints []map[string]any // of which only texts count
			}
		}
	}
	const path = "/v2.0/tokens"
	_, err := s.wire.call(ctx, request{op: opSignIn, method: http.MethodPost, path: path, body: map[string]any{"auth": auth}, into: &v, want: []int{200, 203}})
	if err != nil {
		return err
	}
	a := v.Access
	s.token, s.Expires = Secret(a.Token.ID), at(a.Token.Expires)
	s.User, s.Project = User{a.User.ID, either(a.User.Name, a.User.Username)}, Project(a.Token.Tenant)
	s.catalog = nil
	for _, service := range a.ServiceCatalog {
		for _, e := range service.Endpoints {
			region, _ := e["region"].(string)
			for name, u := range e { // publicURL, internalURL, adminURL
				if iface, ok := strings.CutSuffix(name, "URL"); ok {
					text, _ := u.(string)
					s.catalog = append(s.catalog, endpoint{service.Type, region, iface, text})
				}
			}
		}
	}
	if err := s.signed(opSignIn, s.wire.base+path); err != nil {
		return err
	}
	return s.forProject(opSignIn, l)
}
