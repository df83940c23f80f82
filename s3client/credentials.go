package s3client

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
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
	// Log is told when other keys are read than before, and when they cannot be read any more; nil: nobody is.
	Log *slog.Logger
}

// found are access keys, or what gives them, and what may be told of them.
type found struct {
	*credentials.Credentials
	told *told
}

// from makes it of a provider.
func (cfg CredentialsConfig) from(where string, p credentials.Provider) *found {
	t := &told{Provider: p, log: cfg.Log}
	t.mu.keys.Where = where
	return &found{credentials.New(t), t}
}

func static(access, secret, session string) credentials.Provider {
	return &credentials.Static{Value: credentials.Value{AccessKeyID: access, SecretAccessKey: secret, SessionToken: session, SignerType: credentials.SignatureV4}}
}

// findCredentials goes through the chain. Files are read at once and again when they change; a role is asked for when
// the first request is made.
func findCredentials(cfg CredentialsConfig) (*found, error) {
	if cfg.Anonymous {
		return cfg.from("none: nothing is signed", static("", "", "")), nil
	}
	if cfg.AccessKey != "" || cfg.SecretKey != "" {
		if cfg.AccessKey == "" || cfg.SecretKey == "" {
			return nil, badConfig("an access key needs its secret key, and the other way round")
		}
		return cfg.from("the configuration", static(cfg.AccessKey, cfg.SecretKey, cfg.SessionToken)), nil
	}
	access := firstEnv("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY")
	secret := firstEnv("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY")
	if access != "" && secret != "" {
		return cfg.from("the environment (AWS_ACCESS_KEY_ID)", static(access, secret, os.Getenv("AWS_SESSION_TOKEN"))), nil
	}
	if access != "" || secret != "" {
		return nil, badConfig("only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set")
	}
	var p *fileCredentials
	var err error
	if cfg.File != "" {
		p, err = openFile(cfg.File, cfg.Profile)
	} else {
		p, err = defaultFile(cfg.Profile)
	}
	switch {
	case err != nil:
		return nil, err
	case p != nil:
		return cfg.from(p.watched[0]+", profile "+profileName(p.profile), p), nil
	case !roleHinted() && os.Getenv("AWS_EC2_METADATA_DISABLED") == "true":
		return nil, noCredentials(nil)
	}
	return cfg.from("the role of this container or instance", newRole()), nil
}

// told is a provider that remembers what may be told of the keys it gave, and tells a log when they change.
type told struct {
	credentials.Provider
	log *slog.Logger
	mu  struct {
		sync.Mutex
		keys   Keys
		secret string
	}
}

// RetrieveWithCredContext asks the provider.
func (t *told) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := t.Provider.RetrieveWithCredContext(cc)
	if err != nil {
		return v, err
	}
	var trouble error
	if p, ok := t.Provider.(interface{ trouble() error }); ok {
		trouble = p.trouble()
	}
	t.note(v, trouble)
	return v, nil
}

// Retrieve is RetrieveWithCredContext.
func (t *told) Retrieve() (credentials.Value, error) { return t.RetrieveWithCredContext(nil) }

// note takes keys as they were given: anew, or, in trouble, the former ones.
func (t *told) note(v credentials.Value, trouble error) {
	t.mu.Lock()
	had, first := t.mu.keys, t.mu.keys.Read.IsZero()
	changed := !first && t.mu.secret != v.AccessKeyID+"/"+v.SecretAccessKey+"/"+v.SessionToken
	k := Keys{Where: had.Where, Read: time.Now(), Session: v.SessionToken != ""}
	if trouble != nil {
		k.Read, k.Trouble = had.Read, trouble.Error()
	}
	for _, s := range []string{v.AccessKeyID, v.SecretAccessKey, v.SessionToken} {
		k.Blank = k.Blank || strings.TrimSpace(s) != s
	}
	if n := len(v.AccessKeyID); n > 0 {
		k.Access = v.AccessKeyID[:min(4, n/4)] + "..."
	}
	t.mu.keys, t.mu.secret = k, v.AccessKeyID+"/"+v.SecretAccessKey+"/"+v.SessionToken
	t.mu.Unlock()
	switch {
	case t.log == nil:
	case changed:
		t.log.Info("other access keys are used from now on", "from", k.Where, "access", k.Access)
	case k.Trouble != "" && k.Trouble != had.Trouble:
		t.log.Warn("the access keys cannot be read again; those read before stay in use", "from", k.Where, "err", k.Trouble)
	case k.Trouble == "" && had.Trouble != "":
		t.log.Info("the access keys can be read again; they are the same", "from", k.Where)
	}
}

func (t *told) known() Keys {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.keys
}

// Keys is what may be told of a client's access keys.
type Keys struct {
	Where string // they were found
	// Access is the beginning of the access key: enough to tell it from others. "" where nothing is signed.
	Access  string
	Session bool // a session token belongs to them
	// Blank: one of them begins or ends with a blank or a line break, which is hardly meant.
	Blank bool
	// Read is when they were read or given last; zero before the first request needed them.
	Read time.Time
	// Trouble is why they could not be read when that was tried last: those of before are in use.
	Trouble string
}

// Keys says where the access keys are from; a role's service is asked, within seconds. Denied when there are none. The
// secret stays here.
func (c *Client) Keys() (Keys, error) {
	_, err := c.creds.GetWithContext(nil)
	k := c.told.known()
	if err != nil {
		var own *Error
		if errors.As(err, &own) {
			return k, own
		}
		return k, noCredentials(err)
	}
	return k, nil
}

// KeysKnown is Keys as they are known. Nobody is asked.
func (c *Client) KeysKnown() Keys { return c.told.known() }

// KeysFrom says where the access keys are looked for. Nobody is asked.
func (c *Client) KeysFrom() string { return c.told.known().Where }

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

// longAsk bounds asking a file, a program or a service for keys.
const longAsk = 30 * time.Second

// asking is a question that may take too long: a credential_process that hangs, a name that is looked up in vain. It is
// given up then; what it was asked by goes on in a goroutine, of which there is one at most, and its answer counts when it
// comes after all. credentials.Credentials calls under a lock, which is this type's as well.
type asking[T any] struct{ pending chan answerTo[T] }

type answerTo[T any] struct {
	is  T
	err error
}

func (a *asking[T]) within(limit time.Duration, ask func() (T, error)) (T, error) {
	if a.pending == nil {
		pending := make(chan answerTo[T], 1)
		a.pending = pending
		go func() {
			is, err := ask()
			pending <- answerTo[T]{is, err}
		}()
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case got := <-a.pending:
		a.pending = nil
		return got.is, got.err
	case <-timer.C:
		var none T
		return none, fmt.Errorf("no answer within %v", limit)
	}
}
