package keystone

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cloud is an entry of clouds.yaml, as far as signing in needs it.
type cloud struct {
	Auth struct {
		URL               string `yaml:"auth_url"`
		User              string `yaml:"username"`
		UserID            string `yaml:"user_id"`
		Password          string `yaml:"password"`
		UserDomain        string `yaml:"user_domain_name"`
		UserDomainID      string `yaml:"user_domain_id"`
		Project           string `yaml:"project_name"`
		ProjectID         string `yaml:"project_id"`
		Tenant            string `yaml:"tenant_name"`
		TenantID          string `yaml:"tenant_id"`
		ProjectDomain     string `yaml:"project_domain_name"`
		ProjectDomainID   string `yaml:"project_domain_id"`
		DefaultDomain     string `yaml:"default_domain"` // an id
		Token             string `yaml:"token"`
		ApplicationID     string `yaml:"application_credential_id"`
		ApplicationName   string `yaml:"application_credential_name"`
		ApplicationSecret string `yaml:"application_credential_secret"`
	} `yaml:"auth"`
	Type      string `yaml:"auth_type"`
	Region    string `yaml:"region_name"`
	Version   string `yaml:"identity_api_version"`
	Interface string `yaml:"interface"`
	CAFile    string `yaml:"cacert"`
}

// Cloud reads an entry of clouds.yaml, with what secure.yaml adds to it: the file that OS_CLIENT_CONFIG_FILE names, or the
// first there is in the working directory, ~/.config/openstack and /etc/openstack.
func Cloud(name string, getenv func(string) string) (Login, error) {
	file, clouds, err := cloudsFile(getenv("OS_CLIENT_CONFIG_FILE"), "clouds", getenv)
	if err != nil {
		return Login{}, err
	}
	node, ok := clouds[name]
	if !ok {
		return Login{}, fmt.Errorf("%w: %s has no cloud %q, but %s", ErrNoCloud, file, name, names(clouds))
	}
	var c cloud
	if err := node.Decode(&c); err != nil {
		return Login{}, fmt.Errorf("cloud %s of %s: %w", name, file, withoutValues(err))
	}
	secrets := getenv("OS_CLIENT_SECURE_FILE")
	if beside := filepath.Join(filepath.Dir(file), "secure.yaml"); secrets == "" && exists(beside) {
		secrets = beside
	}
	second, more, err := cloudsFile(secrets, "secure", getenv)
	if err != nil && (secrets != "" || !errors.Is(err, ErrNoCloud)) {
		return Login{}, err
	}
	if node, ok := more[name]; ok {
		if err := node.Decode(&c); err != nil {
			return Login{}, fmt.Errorf("cloud %s of %s: %w", name, second, withoutValues(err))
		}
	}
	l, err := c.login()
	if err != nil {
		return Login{}, fmt.Errorf("cloud %s of %s: %w", name, file, err)
	}
	l.From = fmt.Sprintf("cloud %s of %s", name, file)
	return l, nil
}

// ErrNoCloud: there is no clouds.yaml, or it has no entry of that name.
var ErrNoCloud = errors.New("no such cloud")

// Clouds are the names in clouds.yaml, for who has to choose; nil without a file that can be read.
func Clouds(getenv func(string) string) []string {
	_, clouds, err := cloudsFile(getenv("OS_CLIENT_CONFIG_FILE"), "clouds", getenv)
	if err != nil {
		return nil
	}
	return sorted(clouds)
}

func (c cloud) login() (Login, error) {
	a := c.Auth
	l := Login{
		URL:  a.URL,
		User: a.User, UserID: a.UserID, Password: Secret(a.Password),
		UserDomain: a.UserDomain, UserDomainID: either(a.UserDomainID, a.DefaultDomain),
		Project: either(a.Project, a.Tenant), ProjectID: either(a.ProjectID, a.TenantID),
		ProjectDomain: a.ProjectDomain, ProjectDomainID: either(a.ProjectDomainID, a.DefaultDomain),
		Token:         Secret(a.Token),
		ApplicationID: a.ApplicationID, ApplicationName: a.ApplicationName, ApplicationSecret: Secret(a.ApplicationSecret),
		Region: c.Region, Interface: c.Interface, CAFile: c.CAFile,
	}
	var err error
	if l.Version, err = versionOf(c.Version); err != nil {
		return l, fmt.Errorf("identity_api_version: %w", err)
	}
	if err := l.only(c.Type); err != nil {
		return l, fmt.Errorf("auth_type: %w", err)
	}
	if rest, ok := strings.CutPrefix(l.CAFile, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return l, fmt.Errorf("cacert: %w", err)
		}
		l.CAFile = filepath.Join(home, rest)
	}
	return l, nil
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// longestClouds is more than anybody writes.
const longestClouds = 1 << 20

// cloudsFile reads the file that was named, or the first of its kind (clouds or secure) there is.
func cloudsFile(named, kind string, getenv func(string) string) (string, map[string]yaml.Node, error) {
	looked := []string{named}
	if named == "" {
		looked = nil
		for _, dir := range cloudsDirs(getenv) {
			looked = append(looked, filepath.Join(dir, kind+".yaml"), filepath.Join(dir, kind+".yml"))
		}
	}
	for _, path := range looked {
		text, err := readBounded(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return path, nil, fmt.Errorf("read the clouds: %w", err)
		}
		var doc struct {
			Clouds map[string]yaml.Node `yaml:"clouds"`
		}
		if err := yaml.Unmarshal(text, &doc); err != nil {
			return path, nil, fmt.Errorf("%s is no list of clouds: %w", path, withoutValues(err))
		}
		return path, doc.Clouds, nil
	}
	return "", nil, fmt.Errorf("%w: there is no %s.yaml among %s", ErrNoCloud, kind, strings.Join(looked, ", "))
}

// yamlValues are the places where the library repeats what stands in a file: a value of the wrong kind, and one that begins with *,
// which would be a reference.
var yamlValues = regexp.MustCompile("`[^`]*`|unknown anchor '.*'")

// withoutValues makes an error of the library tellable: passwords stand in these files.
func withoutValues(err error) error {
	text := yamlValues.ReplaceAllStringFunc(err.Error(), func(s string) string {
		if strings.HasPrefix(s, "unknown") {
			return "a value that begins with * has to stand between quotes"
		}
		return notShown
	})
	return errors.New(text)
}

func cloudsDirs(getenv func(string) string) []string {
	dirs := []string{"."}
	if d := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(d) {
		dirs = append(dirs, filepath.Join(d, "openstack"))
	} else if home := getenv("HOME"); filepath.IsAbs(home) {
		dirs = append(dirs, filepath.Join(home, ".config", "openstack"))
	}
	return append(dirs, "/etc/openstack")
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longestClouds+1))
	if err == nil && len(text) > longestClouds {
		err = fmt.Errorf("%s is longer than %d bytes", path, longestClouds)
	}
	return text, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func sorted(clouds map[string]yaml.Node) []string {
	var all []string
	for name := range clouds {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func names(clouds map[string]yaml.Node) string {
	if len(clouds) == 0 {
		return "no other either"
	}
	return strings.Join(sorted(clouds), ", ")
}
