package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"pailfs/s3client/keyfile"
	"pailfs/s3client/keystone"
)

const credentialsAbout = `   The identity service gives a user at most three access keys for a project. Who signs in is told by the variables of an
   openrc file (OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_TENANT_ID or OS_PROJECT_NAME, ...; OS_TOKEN or an application
   credential in place of a password), by a cloud of clouds.yaml (--cloud, OS_CLOUD), or by whoever sits at the terminal.
   A password never stands on the command line.
`

// credentialOptions are those of the table that these commands follow.
func credentialOptions() []option {
	var out []option
	for _, o := range options {
		if slices.Contains([]string{"region", "profile", "credentials-file", "ca-file", "config"}, o.name) {
			out = append(out, o)
		}
	}
	return out
}

func loginFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "auth-url", Usage: "address of the identity service, with or without /v2.0 or /v3 (default: OS_AUTH_URL, or that of --region)"},
		&cli.StringFlag{Name: "cloud", Usage: "a cloud of clouds.yaml (default: OS_CLOUD)"},
		&cli.StringFlag{Name: "user", Usage: "name of the user (default: OS_USERNAME)"},
		&cli.StringFlag{Name: "project", Usage: "id or name of the project, which v2.0 calls tenant (default: OS_PROJECT_ID, OS_PROJECT_NAME, OS_TENANT_ID, OS_TENANT_NAME, or the only one)"},
	}
}

func credentialsCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "credentials", Usage: "access keys from the identity service",
		Subcommands: []*cli.Command{
			credentialCommand(std, &cli.Command{Name: "register", Usage: "make an access key and write it to a credentials file", Flags: []cli.Flag{
				&cli.BoolFlag{Name: "replace", Usage: "the profile may hold a key already: the new one takes its place (the old one stays valid until it is deleted)"},
				&cli.BoolFlag{Name: "show-secret", Usage: "print the secret key as well"},
				jsonFlag(),
			}}, `
   The key is written to --credentials-file, or to ~/.aws/credentials, as --profile; other profiles stay as they are. The
   file's mode becomes 0600. Mounts that read the file take the new key up by themselves. Services pailfs@NAME read
   systemd's copy of it: restart them before the old key is deleted, unless credentials-file: in config.yaml names it.

EXAMPLES:
   . ./openrc && pailfs credentials register             user, password and tenant from an openrc file
   pailfs credentials register --region KR1              asks for them
   pailfs credentials register --cloud work --profile work
   pailfs credentials register --replace --credentials-file /etc/pailfs/credentials   a new key for a host's mounts
`, 0, registerCredential),
			credentialCommand(std, &cli.Command{Name: "list", Usage: "list the user's access keys, without their secrets", Flags: []cli.Flag{jsonFlag()}},
				"", 0, listCredentials),
			credentialCommand(std, &cli.Command{Name: "delete", Usage: "delete an access key", ArgsUsage: "ACCESS", Flags: []cli.Flag{
				&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
				jsonFlag(),
			}}, "\n   Whatever uses the key is refused within a minute. Nothing else is deleted. After register --replace restart services\n"+
				"   pailfs@NAME first: they use the old key until then.\n", 1, deleteCredential),
		},
	}
}

// credentialCommand makes a command of an action for who has signed in.
func credentialCommand(std stdio, c *cli.Command, about string, arguments int, action func(*credentialCall) error) *cli.Command {
	own := append(c.Flags, loginFlags()...)
	help := strings.TrimSuffix(plainHelp(own, credentialsAbout+about), "\n") + "\n\n"
	var b strings.Builder
	storeLines(&b, credentialOptions())
	c.CustomHelpTemplate = help + b.String()
	c.Flags = append(own, cliFlags(credentialOptions())...)
	c.Action = func(ctx *cli.Context) error {
		if err := checkArguments(doing(ctx), usageOf(ctx), ctx.Args().Slice(), arguments, arguments); err != nil {
			return err
		}
		s, err := settingsOf(ctx, credentialOptions())
		if err != nil {
			return err
		}
		stopped, stop := signal.NotifyContext(ctx.Context, unix.SIGINT, unix.SIGTERM)
		defer stop()
		call := &credentialCall{Context: ctx, stopped: stopped, s: s, std: std, ask: newPrompt(std)}
		return action(call)
	}
	return c
}

// credentialCall is one of these commands, as it was called.
type credentialCall struct {
	*cli.Context
	stopped context.Context // ends with a signal
	s       *settings
	std     stdio
	ask     *prompt // nil: nobody is there to be asked
	cannot  string  // what is being done, for errors
}

// credentialsFile is where keys are kept here: what s3client would read.
func (c *credentialCall) credentialsFile() (file, profile string, err error) {
	profile = c.s.Profile
	if profile == "" {
		profile = os.Getenv("AWS_PROFILE")
	}
	if profile == "" {
		profile = "default"
	}
	if file = c.s.CredentialsFile; file != "" {
		return file, profile, nil
	}
	if file = os.Getenv("AWS_SHARED_CREDENTIALS_FILE"); file != "" {
		file, err = filepath.Abs(file)
		return file, profile, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", "", &failure{code: exitHost, command: doing(c.Context), message: fmt.Sprintf("no place for the keys: %v", err), hint: "give --credentials-file FILE"}
	}
	return filepath.Join(home, ".aws", "credentials"), profile, nil
}

// registered is what `pailfs credentials register --json` prints.
type registered struct {
	Access    string `json:"access"`
	Secret    string `json:"secret,omitempty"` // with --show-secret
	ProjectID string `json:"project_id"`
	Project   string `json:"project,omitempty"`
	UserID    string `json:"user_id"`
	File      string `json:"file"`
	Profile   string `json:"profile"`
	Endpoint  string `json:"endpoint,omitempty"` // of the store, as the catalog tells it
}

// writeTime is how long another program that writes the same file is waited for.
const writeTime = 10 * time.Second

// registerCredential makes a key. Whether it can be written down is found out before; should it fail all the same, the key is
// taken back, since nobody will ever know its secret.
func registerCredential(c *credentialCall) error {
	c.cannot = "register an access key"
	file, profile, err := c.credentialsFile()
	if err != nil {
		return err
	}
	replace := c.Bool("replace")
	if err := keyfile.Check(file, profile, replace); err != nil {
		return c.fileFailure(err, file, profile)
	}
	session, err := c.signIn()
	if err != nil {
		return err
	}
	key, err := session.Register(c.stopped)
	if err != nil {
		return c.identityFailure(err)
	}
	writing, cancel := context.WithTimeout(context.WithoutCancel(c.stopped), writeTime)
	defer cancel()
	if err := keyfile.Put(writing, file, profile, keyfile.Keys{Access: key.Access, Secret: key.Secret.Reveal()}, replace); err != nil {
		f := c.fileFailure(err, file, profile)
		if undo := session.Delete(writing, key.Access); undo != nil {
			f.message += fmt.Sprintf("; and access key %s, which was made for it, could not be deleted again (%v)", key.Access, undo)
			f.hint = fmt.Sprintf("`pailfs credentials delete %s`; %s", key.Access, f.hint)
		}
		return f
	}
	r := registered{Access: key.Access, ProjectID: key.ProjectID, Project: session.Project.Name, UserID: session.User.ID,
		File: file, Profile: profile, Endpoint: session.Endpoint(c.region(), "")}
	if c.Bool("show-secret") {
		r.Secret = key.Secret.Reveal()
	}
	if c.Bool("json") {
		return printJSON(c.std.out, r)
	}
	_, err = fmt.Fprint(c.std.out, r.text(c.region()))
	return err
}

func (r registered) text(region string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "access key %s, for project %s\n", shown(r.Access), projectText(keystone.Project{ID: r.ProjectID, Name: r.Project}))
	if r.Secret != "" {
		fmt.Fprintf(&b, "secret key %s\n", shown(r.Secret))
	}
	fmt.Fprintf(&b, "written to %s, profile %s\n", shown(r.File), shown(r.Profile))
	if region != "" && isServiceRegion(region) {
		fmt.Fprintf(&b, "`pailfs bucket list --region %s` shows whether the store takes it\n", region)
	} else if r.Endpoint != "" {
		fmt.Fprintf(&b, "the catalog's address of the store is %s\n", shown(r.Endpoint))
	}
	return b.String()
}

func projectText(p keystone.Project) string {
	if p.Name == "" || p.Name == p.ID {
		return shown(p.ID)
	}
	return fmt.Sprintf("%s (%s)", shown(p.Name), shown(p.ID))
}

// listed is a key in `pailfs credentials list --json`.
type listed struct {
	Access    string     `json:"access"`
	ProjectID string     `json:"project_id"`
	Here      bool       `json:"here"` // it is for the project that was signed in for
	Created   *time.Time `json:"created,omitempty"`
	Accessed  *time.Time `json:"accessed,omitempty"`
	Profiles  []string   `json:"profiles,omitempty"` // of the credentials file that hold it
}

func listCredentials(c *credentialCall) error {
	c.cannot = "list the access keys"
	session, err := c.signIn()
	if err != nil {
		return err
	}
	keys, err := session.List(c.stopped)
	if err != nil {
		return c.identityFailure(err)
	}
	file, profiles, err := c.ownProfiles()
	if err != nil {
		return err
	}
	list := make([]listed, 0, len(keys))
	here := 0
	for _, k := range keys {
		l := listed{Access: k.Access, ProjectID: k.ProjectID, Here: k.ProjectID == session.Project.ID, Created: whenKnown(k.Created), Accessed: whenKnown(k.Accessed)}
		for _, p := range profiles {
			if p.Access == k.Access {
				l.Profiles = append(l.Profiles, p.Name)
			}
		}
		if l.Here {
			here++
		}
		list = append(list, l)
	}
	if c.Bool("json") {
		return printJSON(c.std.out, list)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, l := range list {
		line := shown(l.Access)
		if about := l.about(file); about != "" {
			line += "\t" + about
		}
		fmt.Fprintln(w, line)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "%d of %d for project %s\n", here, keystone.MostKeys, projectText(session.Project))
	_, err = fmt.Fprint(c.std.out, b.String())
	return err
}

func whenKnown(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// about says of a key what helps to tell it from others.
func (l listed) about(file string) string {
	var parts []string
	if !l.Here {
		parts = append(parts, "for another project, "+shown(l.ProjectID))
	}
	if l.Created != nil {
		parts = append(parts, "made "+l.Created.Format(time.DateOnly))
	}
	if l.Accessed != nil {
		parts = append(parts, "used "+l.Accessed.Format(time.DateOnly))
	}
	if len(l.Profiles) > 0 {
		parts = append(parts, fmt.Sprintf("profile %s of %s", shown(strings.Join(l.Profiles, ", ")), shown(file)))
	}
	return strings.Join(parts, "; ")
}

// ownProfiles are those of this user's credentials file that hold keys.
func (c *credentialCall) ownProfiles() (string, []keyfile.Profile, error) {
	file, profile, err := c.credentialsFile()
	if err != nil {
		return "", nil, err
	}
	all, err := keyfile.Profiles(file)
	if err != nil {
		return "", nil, c.fileFailure(err, file, profile)
	}
	return file, all, nil
}

func deleteCredential(c *credentialCall) error {
	access := c.Args().First()
	c.cannot = "delete access key " + shown(access)
	if !c.Bool("yes") && c.ask == nil {
		f := usagef(doing(c.Context), "deleting access key %s has to be confirmed", shown(access))
		f.hint = "--yes, or run it at a terminal"
		return f
	}
	session, err := c.signIn()
	if err != nil {
		return err
	}
	file, profiles, err := c.ownProfiles()
	if err != nil {
		return err
	}
	used := ""
	for _, p := range profiles {
		if p.Access == access {
			used = fmt.Sprintf("profile %s of %s", shown(p.Name), shown(file))
		}
	}
	if !c.Bool("yes") {
		if err := c.confirm(session, access, used); err != nil {
			return err
		}
	}
	if err := session.Delete(c.stopped, access); err != nil {
		return c.identityFailure(err)
	}
	if c.Bool("json") {
		return printJSON(c.std.out, map[string]string{"deleted": access})
	}
	text := fmt.Sprintf("deleted access key %s; the store may take it for another minute\n", shown(access))
	if used != "" {
		text += fmt.Sprintf("%s still holds it: `pailfs credentials register --replace` puts a new one there\n", used)
	}
	_, err = fmt.Fprint(c.std.out, text)
	return err
}

// confirm asks, when there is such a key.
func (c *credentialCall) confirm(session *keystone.Session, access, used string) error {
	key, err := session.Get(c.stopped, access)
	if err != nil {
		return c.identityFailure(err)
	}
	question := fmt.Sprintf("delete access key %s of project %s", shown(access), shown(key.ProjectID))
	if used != "" {
		question += ", which is " + used
	}
	answer, err := c.ask.line(c.stopped, question+"? [y/N] ")
	if err != nil {
		return c.promptFailure(err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return &failure{code: exitInterrupted, command: doing(c.Context), message: "nothing was deleted"}
	}
	return nil
}

// fileFailure says why keys cannot be written down.
func (c *credentialCall) fileFailure(err error, file, profile string) *failure {
	f := &failure{code: exitHost, command: doing(c.Context), message: fmt.Sprintf("cannot write keys to %s: %v", shown(file), err),
		hint: "give --credentials-file FILE in a directory that you may write to"}
	if errors.Is(err, keyfile.ErrTaken) {
		f.code = exitUsage
		f.message = fmt.Sprintf("profile %s of %s holds an access key already", shown(profile), shown(file))
		f.hint = "--profile NAME for another one, or --replace to put the new key in its place"
	}
	return f
}
