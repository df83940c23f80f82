// Package keystonetest is an identity service for tests: the calls that pailfs makes, in v2.0 and v3, with the answers of
// Keystone 22 and the limit of three keys that the cloud has.
package keystonetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The one user there is, and its projects.
const (
	User, UserID, Password = "who@example.com", "0123456789abcdef0123456789abcdef", "pass word/ö"
	Project, ProjectID     = "tester", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	OtherProjectID         = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	ApplicationID          = "app-1"
	ApplicationSecret      = "application-secret"
	// Limit is how many keys there are for the user.
	Limit = 3
)

// Key is a credential that the service has.
type Key struct{ Access, Secret, Project string }

// Service is a running service. Its fields are set before it is asked.
type Service struct {
	*httptest.Server
	// NoV2 and NoV3 leave a version out.
	NoV2, NoV3 bool
	// Projects of the user; Project alone if not set.
	Projects []string
	// SecondFactor: the password alone does not do.
	SecondFactor bool
	// Before answers a request in place of the service when it returns true.
	Before func(w http.ResponseWriter, r *http.Request) bool

	mu struct {
		sync.Mutex
		keys   []Key
		made   int
		tokens map[string]string // their projects
		asked  []string
	}
}

// New starts a service without keys; it ends with the test.
func New(t testing.TB) *Service {
	s := &Service{Projects: []string{ProjectID}}
	s.mu.tokens = map[string]string{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

// Keys are those there are.
func (s *Service) Keys() []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.keys)
}

// Add makes a key.
func (s *Service) Add(project string) Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addLocked(project)
}

func (s *Service) addLocked(project string) Key {
	s.mu.made++
	k := Key{fmt.Sprintf("access%026d", s.mu.made), fmt.Sprintf("secret%026d", s.mu.made), project}
	s.mu.keys = append(s.mu.keys, k)
	return k
}

// Asked are the requests so far, "METHOD path".
func (s *Service) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.asked)
}

// Refuse answers as Keystone does when it says no.
func Refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	write(w, map[string]any{"error": map[string]any{"code": status, "message": message, "title": http.StatusText(status)}})
}

func write(w io.Writer, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err) // of the test's own values
	}
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.asked = append(s.mu.asked, r.Method+" "+r.URL.Path)
	if s.Before != nil && s.Before(w, r) {
		return
	}
	version, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/":
		s.versions(w)
	case version == "v2.0" && !s.NoV2 && r.Method == http.MethodPost && path == "tokens":
		s.signInV2(w, r)
	case version == "v3" && !s.NoV3 && r.Method == http.MethodPost && path == "auth/tokens":
		s.signInV3(w, r)
	case version == "v2.0" && !s.NoV2 && path == "tenants", version == "v3" && !s.NoV3 && path == "auth/projects":
		s.projects(w, r)
	case (version == "v2.0" && !s.NoV2 || version == "v3" && !s.NoV3) && strings.HasPrefix(path, "users/"):
		s.credentials(w, r, strings.Split(path, "/"))
	default:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "<!doctype html><title>404 Not Found</title>")
	}
}

func (s *Service) versions(w http.ResponseWriter) {
	var values []any
	if !s.NoV3 {
		values = append(values, map[string]any{"id": "v3.14", "status": "stable"})
	}
	if !s.NoV2 {
		values = append(values, map[string]any{"id": "v2.0", "status": "deprecated"})
	}
	w.WriteHeader(http.StatusMultipleChoices)
	write(w, map[string]any{"versions": map[string]any{"values": values}})
}

// grant makes a token, and says whether there is one: who is it, and for which project.
func (s *Service) grant(w http.ResponseWriter, right bool, id, name string) (token, project string, ok bool) {
	switch {
	case !right:
	case s.SecondFactor:
		w.Header().Set("Openstack-Auth-Receipt", "receipt")
		w.WriteHeader(http.StatusUnauthorized)
		write(w, map[string]any{"receipt": map[string]any{}, "required_auth_methods": [][]string{{"password", "totp"}}})
		return "", "", false
	case id != "" && slices.Contains(s.Projects, id):
		project, ok = id, true
	case id == "" && name == Project:
		project, ok = ProjectID, true
	case id == "" && name == "":
		ok = true
	}
	if !ok {
		Refuse(w, http.StatusUnauthorized, "The request you have made requires authentication.")
		return "", "", false
	}
	token = fmt.Sprintf("token-%d-%s", len(s.mu.tokens), project)
	s.mu.tokens[token] = project
	return token, project, true
}

func (s *Service) known(token string) bool {
	_, ok := s.mu.tokens[token]
	return ok
}

func (s *Service) signInV2(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Auth struct {
			TenantID, TenantName string
			PasswordCredentials  struct{ Username, UserID, Password string }
			Token                struct{ ID string }
		}
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil {
		Refuse(w, http.StatusBadRequest, "Expecting to find auth in request body.")
		return
	}
	who := q.Auth.PasswordCredentials
	right := (who.Username == User || who.UserID == UserID) && who.Password == Password || s.known(q.Auth.Token.ID)
	token, project, ok := s.grant(w, right, q.Auth.TenantID, q.Auth.TenantName)
	if !ok {
		return
	}
	t := map[string]any{"id": token, "expires": "2099-01-02T03:04:05Z"}
	if project != "" {
		t["tenant"] = map[string]any{"id": project, "name": Project}
	}
	catalog := []any{map[string]any{"type": "object-store", "name": "swift", "endpoints": []any{
		map[string]any{"region": "KR1", "publicURL": "https://store.example/v1/AUTH_" + project, "adminURL": nil},
		map[string]any{"region": "JP1", "publicURL": "https://jp.example/v1/AUTH_" + project}}}}
	write(w, map[string]any{"access": map[string]any{"token": t, "user": map[string]any{"id": UserID, "name": User}, "serviceCatalog": catalog}})
}

func (s *Service) signInV3(w http.ResponseWriter, r *http.Request) {
	type domain struct{ ID, Name string }
	type user struct {
		ID, Name, Password string
		Domain             domain
	}
	var q struct {
		Auth struct {
			Identity struct {
				Methods               []string
				Password              struct{ User user }
				Token                 struct{ ID string }
				ApplicationCredential struct{ ID, Secret string } `json:"application_credential"`
			}
			Scope struct {
				Project struct {
					ID, Name string
					Domain   domain
				}
			}
		}
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil || len(q.Auth.Identity.Methods) != 1 {
		Refuse(w, http.StatusBadRequest, "Expecting to find auth in request body.")
		return
	}
	i, scope := q.Auth.Identity, q.Auth.Scope.Project
	who, right, id := i.Password.User, false, scope.ID
	home := func(d domain) bool { return d.ID == "default" || d.Name == "Default" }
	switch i.Methods[0] {
	case "password":
		right = (who.ID == UserID || who.Name == User && home(who.Domain)) && who.Password == Password
	case "token":
		if right = s.known(i.Token.ID); !right {
			Refuse(w, http.StatusNotFound, "Could not recognize Fernet token")
			return
		}
	case "application_credential":
		right, id = i.ApplicationCredential.ID == ApplicationID && i.ApplicationCredential.Secret == ApplicationSecret, ProjectID
	}
	right = right && (scope.Name == "" || home(scope.Domain))
	token, project, ok := s.grant(w, right, id, scope.Name)
	if !ok {
		return
	}
	t := map[string]any{"expires_at": "2099-01-02T03:04:05.000000Z", "user": map[string]any{"id": UserID, "name": User}}
	if project != "" {
		t["project"] = map[string]any{"id": project, "name": Project}
		t["catalog"] = []any{map[string]any{"type": "object-store", "endpoints": []any{
			map[string]any{"interface": "public", "region": "KR1", "region_id": "KR1", "url": "https://store.example/v1/AUTH_" + project},
			map[string]any{"interface": "internal", "region": "KR1", "region_id": "KR1", "url": "https://10.0.0.1/v1/AUTH_" + project}}}}
	}
	w.Header().Set("X-Subject-Token", token)
	w.WriteHeader(http.StatusCreated)
	write(w, map[string]any{"token": t})
}

func (s *Service) projects(w http.ResponseWriter, r *http.Request) {
	if !s.known(r.Header.Get("X-Auth-Token")) {
		Refuse(w, http.StatusUnauthorized, "The request you have made requires authentication.")
		return
	}
	var all []any
	for _, id := range s.Projects {
		all = append(all, map[string]any{"id": id, "name": "name of " + id[:1]})
	}
	name := "projects"
	if strings.HasPrefix(r.URL.Path, "/v2.0") {
		name = "tenants"
	}
	write(w, map[string]any{name: all})
}

// credentials are users/USER/credentials/OS-EC2[/ACCESS].
func (s *Service) credentials(w http.ResponseWriter, r *http.Request, path []string) {
	known := s.known(r.Header.Get("X-Auth-Token"))
	switch {
	case !known:
		Refuse(w, http.StatusUnauthorized, "The request you have made requires authentication.")
		return
	case len(path) < 4 || len(path) > 5 || path[2] != "credentials" || path[3] != "OS-EC2":
		Refuse(w, http.StatusNotFound, "no such path")
		return
	case path[1] != UserID:
		Refuse(w, http.StatusForbidden, "You are not authorized to perform the requested action.")
		return
	}
	if len(path) == 5 {
		s.one(w, r, path[4])
		return
	}
	if r.Method == http.MethodPost {
		s.register(w, r)
		return
	}
	all := []any{}
	for _, k := range s.mu.keys {
		all = append(all, k.json())
	}
	write(w, map[string]any{"credentials": all})
}

func (k Key) json() map[string]any {
	return map[string]any{"access": k.Access, "secret": k.Secret, "tenant_id": k.Project, "user_id": UserID, "trust_id": nil,
		"created_at": "2026-01-02T03:04:05.000000"}
}

func (s *Service) register(w http.ResponseWriter, r *http.Request) {
	var q struct {
		TenantID string `json:"tenant_id"`
	}
	switch {
	case json.NewDecoder(r.Body).Decode(&q) != nil || q.TenantID == "":
		Refuse(w, http.StatusNotFound, "Could not find project: None.")
	case len(s.mu.keys) >= Limit:
		Refuse(w, http.StatusForbidden, fmt.Sprintf("Unable to create additional credentials, maximum of %d already exceeded for user.", Limit))
	default:
		w.WriteHeader(http.StatusCreated)
		write(w, map[string]any{"credential": s.addLocked(q.TenantID).json()})
	}
}

func (s *Service) one(w http.ResponseWriter, r *http.Request, access string) {
	i := slices.IndexFunc(s.mu.keys, func(k Key) bool { return k.Access == access })
	switch {
	case i < 0:
		Refuse(w, http.StatusNotFound, "Could not find credential: "+access+".")
	case r.Method == http.MethodDelete:
		s.mu.keys = slices.Delete(s.mu.keys, i, i+1)
		w.WriteHeader(http.StatusNoContent)
	default:
		write(w, map[string]any{"credential": s.mu.keys[i].json()})
	}
}
