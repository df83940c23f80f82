package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"pailfs/s3client"
	"pailfs/s3client/keystone"
)

// serviceIdentity is the identity service of the cloud whose regions are in the table, in all of them.
const serviceIdentity = "https://api-identity-infrastructure.nhncloudservice.com/v2.0"

func isServiceRegion(name string) bool {
	_, known := s3client.RegionByName(name)
	return known
}

// region is the one that is meant: an option of pailfs, or what OpenStack's tools go by.
func (c *credentialCall) region() string {
	if c.s.Region != "" {
		return c.s.Region
	}
	return os.Getenv("OS_REGION_NAME")
}

// signIn finds out who signs in where, asks for what is missing, and signs in.
func (c *credentialCall) signIn() (*keystone.Session, error) {
	l, err := c.login()
	if err != nil {
		return nil, err
	}
	if err := c.askFor(&l); err != nil {
		return nil, err
	}
	if l.Plain() {
		if _, err := fmt.Fprintf(c.std.err, "pailfs: warning: %s is not encrypted: whoever is on the way sees the password\n", shown(l.URL)); err != nil {
			return nil, err
		}
	}
	session, err := keystone.SignIn(c.stopped, l, keystone.Options{UserAgent: "pailfs/" + buildInfo().Version})
	if err != nil {
		return nil, c.loginFailure(err, l)
	}
	return session, nil
}

// login is what the command line, a cloud or the environment say.
func (c *credentialCall) login() (keystone.Login, error) {
	cloud := c.String("cloud")
	if cloud == "" {
		cloud = os.Getenv("OS_CLOUD")
	}
	l, err := keystone.FromEnvironment(os.Getenv)
	if cloud != "" {
		password := l.Password
		if l, err = keystone.Cloud(cloud, os.Getenv); l.Password == "" {
			l.Password = password // all else is the cloud's: a password goes where it belongs
		}
	}
	if err != nil {
		f := usagef(doing(c.Context), "cannot %s: %v", c.cannot, err)
		if errors.Is(err, keystone.ErrNoCloud) {
			f.hint = "--cloud or OS_CLOUD names an entry of clouds.yaml; OS_CLIENT_CONFIG_FILE names the file"
		}
		return l, f
	}
	if v := c.String("auth-url"); v != "" {
		l.URL = v
	}
	if v := c.String("user"); v != "" {
		l.User, l.UserID = v, ""
	}
	if v := c.String("project"); v != "" {
		l.Project, l.ProjectID = v, ""
		if isID(v) {
			l.Project, l.ProjectID = "", v
		}
	}
	if c.s.CAFile != "" {
		l.CAFile = c.s.CAFile
	}
	if l.Region = c.s.Region; l.Region == "" {
		l.Region = os.Getenv("OS_REGION_NAME")
	}
	if l.URL == "" && isServiceRegion(c.region()) {
		l.URL = serviceIdentity
	}
	return l, nil
}

// hexID is how Keystone writes an id; a name that looks so is nobody's.
var hexID = regexp.MustCompile(`^[0-9a-f]{32}$|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func isID(v string) bool { return hexID.MatchString(v) }

// askFor asks whoever sits at the terminal for what is missing.
func (c *credentialCall) askFor(l *keystone.Login) error {
	missing := func(what, hint string) error {
		f := usagef(doing(c.Context), "cannot %s: %s", c.cannot, what)
		f.hint = hint
		if clouds := keystone.Clouds(os.Getenv); len(clouds) > 0 {
			f.hint += "; or --cloud, one of " + strings.Join(clouds, ", ")
		}
		return f
	}
	if l.URL == "" {
		if c.ask == nil {
			return missing("the identity service's address is not given", "OS_AUTH_URL, --auth-url URL, or --region of the cloud: "+regionNames())
		}
		answer, err := c.ask.line(c.stopped, "address of the identity service: ")
		if err != nil {
			return c.promptFailure(err)
		}
		l.URL = strings.TrimSpace(answer)
	}
	if l.Signs() {
		return nil
	}
	switch {
	case l.ApplicationID != "" || l.ApplicationName != "":
		return missing("the application credential is not complete", "OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET belong together")
	case c.ask == nil:
		what := "no user is given"
		if l.User != "" || l.UserID != "" {
			what = "no password is given"
		}
		return missing(what, "OS_USERNAME and OS_PASSWORD, as an openrc file sets them; or run it at a terminal, which asks")
	}
	return c.askForUser(l)
}

func (c *credentialCall) askForUser(l *keystone.Login) error {
	asked := l.User == "" && l.UserID == ""
	if asked {
		answer, err := c.ask.line(c.stopped, "user: ")
		if err != nil {
			return c.promptFailure(err)
		}
		l.User = strings.TrimSpace(answer)
	}
	if asked && l.Project == "" && l.ProjectID == "" {
		answer, err := c.ask.line(c.stopped, "project or tenant, id or name (empty: the only one): ")
		if err != nil {
			return c.promptFailure(err)
		}
		if l.Project = strings.TrimSpace(answer); isID(l.Project) {
			l.Project, l.ProjectID = "", l.Project
		}
	}
	password, err := c.ask.secret(c.stopped, fmt.Sprintf("password of %s: ", shown(l.User+l.UserID)))
	if err != nil {
		return c.promptFailure(err)
	}
	l.Password = password
	if !l.Signs() {
		return c.promptFailure(errNoAnswer)
	}
	return nil
}

// prompt asks whoever sits at the terminal.
type prompt struct {
	terminal *os.File
	in       *bufio.Reader
	out      io.Writer // not the standard output, which may be a file
}

// newPrompt is nil where nobody can be asked.
func newPrompt(std stdio) *prompt {
	f, ok := std.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &prompt{f, bufio.NewReader(f), std.err}
}

var errNoAnswer = errors.New("there was no answer")

// secret asks without an echo, which ends before the question is seen: who pastes is fast. Whatever ends the waiting, the
// terminal is as it was.
func (p *prompt) secret(ctx context.Context, question string) (keystone.Secret, error) {
	fd := int(p.terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("the terminal: %w", err)
	}
	quiet := *before
	quiet.Lflag = quiet.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	quiet.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", fmt.Errorf("the terminal: %w", err)
	}
	text, err := p.line(ctx, question)
	restored := unix.IoctlSetTermios(fd, unix.TCSETS, before)
	_, printed := fmt.Fprintln(p.out) // the line break that was not echoed
	return keystone.Secret(text), errors.Join(err, restored, printed)
}

// line asks for a line, and waits for it or for a signal: the read goes on then, and ends with the process. It touches nothing but
// the input:
// the terminal's modes are its caller's, who may have gone on.
func (p *prompt) line(ctx context.Context, question string) (string, error) {
	if _, err := fmt.Fprint(p.out, question); err != nil {
		return "", err
	}
	type answer struct {
		text string
		err  error
	}
	said := make(chan answer, 1)
	go func() {
		text, err := p.in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			if err = errNoAnswer; text != "" {
				err = nil // Ctrl-D behind it
			}
		}
		said <- answer{strings.TrimRight(text, "\r\n"), err}
	}()
	select {
	case a := <-said:
		return a.text, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (c *credentialCall) promptFailure(err error) *failure {
	if errors.Is(err, context.Canceled) {
		return &failure{code: exitInterrupted, command: doing(c.Context), message: "interrupted"}
	}
	return usagef(doing(c.Context), "cannot %s: %v", c.cannot, err)
}
