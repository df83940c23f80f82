package s3client

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// CredentialsConfig says where access keys come from. In this order: AccessKey and SecretKey, the variables
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, File, ~/.aws/credentials with ~/.aws/config (or
// AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE), and the role of the container or the instance.
type CredentialsConfig struct {
	// File is a credentials file of the form of ~/.aws/credentials.
	File string
	// Profile is its section; "" takes AWS_PROFILE, or "default".
	Profile string
	// Anonymous signs nothing.
	Anonymous bool
	// AccessKey, SecretKey and SessionToken come first when they are set; meant for tests.
	AccessKey, SecretKey, SessionToken string
}

// found are access keys, or what gives them, and where they were found.
type found struct {
	*credentials.Credentials
	where string
}

// findCredentials goes through the chain. Files are read at once and again when they change; a role is asked for when
// the first request is made.
func findCredentials(cfg CredentialsConfig) (*found, error) {
	if cfg.Anonymous {
		return &found{credentials.NewStatic("", "", "", credentials.SignatureAnonymous), "none: nothing is signed"}, nil
	}
	if cfg.AccessKey != "" || cfg.SecretKey != "" {
		if cfg.AccessKey == "" || cfg.SecretKey == "" {
			return nil, badConfig("an access key needs its secret key, and the other way round")
		}
		return &found{credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, cfg.SessionToken), "the configuration"}, nil
	}
	access := firstEnv("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY")
	secret := firstEnv("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY")
	if access != "" && secret != "" {
		return &found{credentials.NewStaticV4(access, secret, os.Getenv("AWS_SESSION_TOKEN")), "the environment (AWS_ACCESS_KEY_ID)"}, nil
	}
	if access != "" || secret != "" {
		return nil, badConfig("only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set")
	}
	if cfg.File != "" {
		p, err := openFile(cfg.File, cfg.Profile)
		if err != nil {
			return nil, err
		}
		return p.found(), nil
	}
	p, err := defaultFile(cfg.Profile)
	if err != nil {
		return nil, err
	}
	if p != nil {
		return p.found(), nil
	}
	if !roleHinted() && os.Getenv("AWS_EC2_METADATA_DISABLED") == "true" {
		return nil, noCredentials(nil)
	}
	return &found{credentials.New(newRole()), "the role of this container or instance"}, nil
}

// found are the keys of the file.
func (p *fileCredentials) found() *found {
	return &found{credentials.New(p), p.watched + ", profile " + profileName(p.profile)}
}

// Keys is what may be told of a client's access keys.
type Keys struct {
	Where string // they were found
	// Access is the beginning of the access key: enough to tell it from others. "" where nothing is signed.
	Access  string
	Session bool // a session token belongs to them
	// Blank: one of them begins or ends with a blank or a line break, which is hardly meant.
	Blank bool
}

// Keys says where the access keys are from; a role's service is asked, within seconds. Denied when there are none. The
// secret stays here.
func (c *Client) Keys() (Keys, error) {
	v, err := c.creds.GetWithContext(nil)
	k := Keys{Where: c.found, Session: v.SessionToken != ""}
	if err != nil {
		var own *Error
		if errors.As(err, &own) {
			return k, own
		}
		return k, noCredentials(err)
	}
	for _, s := range []string{v.AccessKeyID, v.SecretAccessKey, v.SessionToken} {
		k.Blank = k.Blank || strings.TrimSpace(s) != s
	}
	if n := len(v.AccessKeyID); n > 0 {
		k.Access = v.AccessKeyID[:min(4, n/4)] + "..."
	}
	return k, nil
}

// KeysFrom says where the access keys are looked for. Nobody is asked.
func (c *Client) KeysFrom() string { return c.found }

func firstEnv(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

func noCredentials(cause error) *Error {
	e := &Error{Op: "credentials", Kind: Denied, Code: "NoCredentials", Err: cause, Message: "no access key found: set " +
		"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ~/.aws/credentials, or name another file"}
	if cause != nil {
		e.Message += " (the role's service says: " + cause.Error() + ")"
	}
	return e
}

// fileCredentials reads a credentials file and reads it again when it has changed. credentials.Credentials calls it
// under a lock.
type fileCredentials struct {
	path    string // "": the default files, merged
	watched string // the file whose change counts
	profile string
	parsed  *credentials.FileAWSCredentials
	value   credentials.Value
	stamp   time.Time // the file's when it was read
	looked  time.Time
}

// lookEvery bounds how often a file is looked at.
const lookEvery = 5 * time.Second

var _ credentials.Provider = (*fileCredentials)(nil)

// openFile reads the file that was asked for.
func openFile(path, profile string) (*fileCredentials, error) {
	if err := checkMode(path); err != nil {
		return nil, err
	}
	p := &fileCredentials{path: path, watched: path, profile: profile}
	if _, err := p.read(nil); err != nil {
		return nil, badConfig("credentials file %s, profile %s: %v", path, profileName(profile), err)
	}
	if p.value.AccessKeyID == "" {
		return nil, badConfig("credentials file %s has no aws_access_key_id in profile %s", path, profileName(profile))
	}
	return p, nil
}

// defaultFile reads the files of the AWS tools; nil when there are none, or nothing in them and no profile was asked for.
func defaultFile(profile string) (*fileCredentials, error) {
	path := sharedFile("AWS_SHARED_CREDENTIALS_FILE", "credentials")
	config := sharedFile("AWS_CONFIG_FILE", "config")
	err := checkMode(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	asked := profile != "" || os.Getenv("AWS_PROFILE") != ""
	if _, err := os.Stat(config); missing && err != nil {
		if asked {
			return nil, badConfig("there is no %s for profile %s", path, profileName(profile))
		}
		return nil, nil
	}
	p := &fileCredentials{watched: path, profile: profile}
	_, err = p.read(nil)
	switch {
	case err == nil && p.value.AccessKeyID != "":
		return p, nil
	case asked && err != nil:
		return nil, badConfig("profile %s: %v", profileName(profile), err)
	case asked:
		return nil, badConfig("%s has no aws_access_key_id in profile %s", path, profileName(profile))
	}
	return nil, nil // a file for other things (regions, other profiles): a role may still be there
}

func sharedFile(env, name string) string {
	if path := os.Getenv(env); path != "" {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join("/nonexistent", name)
	}
	return filepath.Join(home, ".aws", name)
}

func profileName(profile string) string {
	if profile == "" {
		profile = os.Getenv("AWS_PROFILE")
	}
	if profile == "" {
		profile = "default"
	}
	return profile
}

// checkMode refuses a file with secrets that others can read.
func checkMode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		e := badConfig("cannot read the credentials file: %v", err)
		e.Err = err
		return e
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		e := badConfig("other users can read the credentials file %s (mode %04o); run: chmod 600 %s", path, mode, path)
		e.Code = "CredentialsFileMode"
		return e
	}
	return nil
}

func (p *fileCredentials) read(cc *credentials.CredContext) (credentials.Value, error) {
	stamp := modTime(p.watched)
	parsed := &credentials.FileAWSCredentials{Filename: p.path, Profile: p.profile}
	value, err := parsed.RetrieveWithCredContext(cc)
	p.looked = time.Now()
	if err != nil || value.AccessKeyID == "" || value.SecretAccessKey == "" {
		if p.value.AccessKeyID != "" {
			return p.value, nil // half written; the next look will find it whole
		}
		return value, err
	}
	p.parsed, p.value, p.stamp = parsed, value, stamp
	return value, nil
}

func modTime(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// RetrieveWithCredContext reads the file.
func (p *fileCredentials) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return p.read(&credentials.CredContext{Client: &http.Client{Timeout: 30 * time.Second}})
}

// Retrieve is RetrieveWithCredContext.
func (p *fileCredentials) Retrieve() (credentials.Value, error) {
	return p.RetrieveWithCredContext(nil)
}

// IsExpired says when to read again: the file has changed, or what it led to (a process, a session) has expired.
func (p *fileCredentials) IsExpired() bool {
	if p.parsed == nil || p.parsed.IsExpired() && !p.value.Expiration.IsZero() {
		return true
	}
	if time.Since(p.looked) < lookEvery {
		return false
	}
	p.looked = time.Now()
	return !modTime(p.watched).Equal(p.stamp)
}

// role asks the container's or the instance's metadata service. A host without one must not wait for it long, nor again
// with every request.
type role struct {
	credentials.IAM
	limit  time.Duration
	failed error
	at     time.Time
}

const (
	roleLimit     = 3 * time.Second
	hintedLimit   = 15 * time.Second
	roleForgetful = 10 * time.Second
)

var _ credentials.Provider = (*role)(nil)

// roleHinted reports whether the environment names a service that gives credentials.
func roleHinted() bool {
	return firstEnv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_WEB_IDENTITY_TOKEN_FILE") != ""
}

func newRole() *role {
	r := &role{limit: roleLimit}
	if roleHinted() {
		r.limit = hintedLimit
	}
	dialer := &net.Dialer{Timeout: r.limit / 3}
	r.Client = &http.Client{Timeout: r.limit, Transport: &http.Transport{DialContext: dialer.DialContext,
		DisableKeepAlives: true, TLSHandshakeTimeout: r.limit / 3}}
	return r
}

// RetrieveWithCredContext asks, at most for the limit. It has its own client: these requests are not the store's.
func (r *role) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	if r.failed != nil && time.Since(r.at) < roleForgetful {
		return credentials.Value{}, r.failed
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.limit)
	defer cancel()
	value, err := r.IAM.RetrieveWithCredContext(&credentials.CredContext{Client: r.Client, Context: ctx})
	if err == nil && value.AccessKeyID == "" {
		err = errors.New("the metadata service has no role for this machine")
	}
	if err != nil {
		r.failed, r.at = noCredentials(err), time.Now()
		return credentials.Value{}, r.failed
	}
	r.failed = nil
	return value, nil
}

// Retrieve is RetrieveWithCredContext.
func (r *role) Retrieve() (credentials.Value, error) { return r.RetrieveWithCredContext(nil) }
