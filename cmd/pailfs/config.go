package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
)

// A configuration file gives options to every command and names mounts:
//
//	options:                  # for all mounts, and for the commands that talk to the store
//	  region: KR1
//	mounts:
//	  photos:                 # pailfs mount photos
//	    source: photos/2026   # BUCKET[/PREFIX]; without it the whole account
//	    mountpoint: /mnt/photos
//	    metadata-ttl: forever # any option of `pailfs mount` by its name
//
// A mount's own options come before those of all. The user's file comes before the system's: option by option in "options",
// and as a whole for a mount of the same name.

// systemConfig is the host's file.
const systemConfig = "/etc/pailfs/config.yaml"

// longestConfig is more than anybody writes.
const longestConfig = 1 << 20

// configuration is what the configuration files say.
type configuration struct {
	files   []*configFile // strongest first
	skipped []string      // files that this user may not read
}

// configFile is one of them.
type configFile struct {
	path     string
	options  configSection
	mounts   []*configMount
	problems []configProblem
	secrets  bool
}

// configMount is a named mount.
type configMount struct {
	name       string
	source     string // "" is the whole account
	mountpoint string
	configSection
}

// configSection are options and access keys, as written.
type configSection struct {
	values map[string]fileValue
	keys   map[string]fileValue // access-key, secret-key, session-token
}

// fileValue is one value and where it stands.
type fileValue struct {
	value, file string
	line        int
	from        int // fromMount or fromFile
}

func (v fileValue) where() string { return fmt.Sprintf("%s:%d", v.file, v.line) }

// configProblem is what is wrong with a file.
type configProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Mount   string `json:"mount,omitempty"` // whose section it is in; "": it stops all
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (p configProblem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
}

// accessKeys are those that stand in a configuration file.
type accessKeys struct {
	access, secret, session string
	where                   string
}

// String keeps them out of every message.
func (k accessKeys) String() string { return "access keys of " + k.where }

// loadConfig reads the files: the one that was asked for, or the user's and the system's, of which neither has to be there.
func loadConfig(asked string, getenv func(string) string, uid int) (*configuration, error) {
	if asked != "" {
		f, err := readConfig(asked)
		if err != nil {
			return nil, err
		}
		return &configuration{files: []*configFile{f}}, nil
	}
	c := &configuration{}
	for _, path := range []string{userConfig(getenv), systemConfig} {
		if path == "" {
			continue
		}
		f, err := readConfig(path)
		switch {
		case err == nil:
			c.files = append(c.files, f)
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		case errors.Is(err, os.ErrPermission) && path == systemConfig && uid != 0:
			c.skipped = append(c.skipped, path) // the host's, with secrets in it: not this user's business
		default:
			return nil, err
		}
	}
	return c, nil
}

// userConfig is the user's own file, "" where there is no home.
func userConfig(getenv func(string) string) string {
	if d := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "pailfs", "config.yaml")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "pailfs", "config.yaml")
	}
	return ""
}

// readConfig reads one file. Only that it cannot be read is an error; what is wrong in it is among its problems.
func readConfig(path string) (*configFile, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longestConfig+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if len(text) > longestConfig {
		return nil, fmt.Errorf("the configuration %s is longer than %s", path, formatSize(longestConfig))
	}
	c := parseConfig(path, text)
	if c.secrets {
		c.checkMode(f)
	}
	return c, nil
}

// checkMode refuses access keys that others can read.
func (c *configFile) checkMode(f *os.File) {
	info, err := f.Stat()
	if err != nil {
		c.problem(0, "", "", "%v", err)
		return
	}
	if s3client.OthersRead(c.path, info) {
		c.problem(0, "", "chmod 600 "+c.path, "it holds access keys and others can read it (mode %04o)", info.Mode().Perm())
	}
}

func (c *configFile) problem(line int, mount, hint, format string, args ...any) {
	c.problems = append(c.problems, configProblem{c.path, line, mount, fmt.Sprintf(format, args...), hint})
}

// mount finds a named mount; its file is the strongest that has one.
func (c *configuration) mount(name string) *configMount {
	for _, f := range c.files {
		for _, m := range f.mounts {
			if m.name == name {
				return m
			}
		}
	}
	return nil
}

// names are all mounts that have one.
func (c *configuration) names() []string {
	var names []string
	for _, f := range c.files {
		for _, m := range f.mounts {
			names = append(names, m.name)
		}
	}
	return names
}

// check gives what stops a command that uses a named mount, or none.
func (c *configuration) check(command, mount string) error {
	for _, f := range c.files {
		for _, p := range f.problems {
			if p.Mount == "" || p.Mount == mount {
				failure := usagef(command, "%s", p)
				if failure.hint = p.Hint; p.Hint == "" {
					failure.hint = "`pailfs config check` shows all that is wrong"
				}
				return failure
			}
		}
	}
	return nil
}

// lookup is where resolve finds the values of the files, for a named mount or none.
func (c *configuration) lookup(mount *configMount) func(name string) (fileValue, bool) {
	return func(name string) (fileValue, bool) {
		for _, s := range c.sections(mount) {
			if v, ok := s.values[name]; ok {
				return v, true
			}
		}
		return fileValue{}, false
	}
}

// sections are those that count for a mount, strongest first.
func (c *configuration) sections(mount *configMount) []configSection {
	var all []configSection
	if mount != nil {
		all = append(all, mount.configSection)
	}
	for _, f := range c.files {
		all = append(all, f.options)
	}
	return all
}

// credentialNames are the options that say where access keys are.
var credentialNames = map[string]bool{"credentials-file": true, "profile": true, "anonymous": true}

// keys are the access keys of the files, unless a stronger source says where keys are: AWS_ACCESS_KEY_ID in the environment, or
// an option.
func (c *configuration) keys(mount *configMount, s *settings, getenv func(string) string) (accessKeys, error) {
	sections := c.sections(mount)
	for i, section := range sections {
		access, secret := section.keys["access-key"], section.keys["secret-key"]
		if access.value == "" && secret.value == "" {
			continue
		}
		if access.value == "" || secret.value == "" {
			return accessKeys{}, fmt.Errorf("%s: access-key and secret-key belong together", max(access.file, secret.file))
		}
		if getenv("AWS_ACCESS_KEY_ID") != "" || getenv("AWS_ACCESS_KEY") != "" || saidBefore(s.Origins, sections[:i], access.from) {
			return accessKeys{}, nil
		}
		return accessKeys{access.value, secret.value, section.keys["session-token"].value, access.where()}, nil
	}
	return accessKeys{}, nil
}

// saidBefore says whether an option that names credentials comes from a source stronger than the section of the keys.
func saidBefore(origins []origin, stronger []configSection, from int) bool {
	for _, o := range origins {
		if !credentialNames[o.name] || o.from == fromDefault {
			continue
		}
		if o.from < fromMount || o.from < from {
			return true
		}
		for _, s := range stronger {
			if _, ok := s.values[o.name]; ok {
				return true
			}
		}
	}
	return false
}

// fill puts them into a client's configuration.
func (k accessKeys) fill(c *s3client.CredentialsConfig) {
	if k.access != "" {
		c.AccessKey, c.SecretKey, c.SessionToken = k.access, k.secret, k.session
	}
}

// isName says whether an argument can be the name of a mount.
func isName(arg string) bool {
	return arg != "" && !strings.ContainsAny(arg, "/") && arg != "." && arg != ".."
}
