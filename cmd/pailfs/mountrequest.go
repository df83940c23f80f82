package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

// mountRequest is what somebody asks for: a command line of `pailfs mount`, what mount(8) hands over, or a line of fstab. The
// commands that talk to the store and mount nothing use its options alone.
type mountRequest struct {
	command string // what errors begin with
	opts    []option
	flag    func(name string) (value string, set bool)
	o       []string // the values of -o
	sloppy  bool     // unknown words of -o are passed over
	args    []string
	getenv  func(string) string

	byMount8 bool // mount(8) calls

	words  *mountWords    // set by configure
	config *configuration // set by configure
	mount  *configMount   // the named mount that is meant; nil: none
}

// requestOf is that of a command line.
func requestOf(c *cli.Context, opts []option) *mountRequest {
	return &mountRequest{command: doing(c), opts: opts, o: c.StringSlice("o"), args: c.Args().Slice(), getenv: os.Getenv,
		flag: func(name string) (string, bool) {
			if !c.IsSet(name) {
				return "", false
			}
			if o, _ := optionNamed(opts, name); o.isSwitch() {
				return fmt.Sprint(c.Bool(name)), true
			}
			return c.String(name), true
		}}
}

// configure reads -o and the configuration files.
func (r *mountRequest) configure() error {
	var err error
	if r.words, err = parseMountOptions(r.o, r.sloppy); err != nil {
		f := usagef(r.command, "-o %v", err)
		f.hint = "`pailfs mount --help` lists the options; a comma inside a value is written \\, or between double quotes"
		return f
	}
	var asked settings
	o, _ := optionNamed(options, "config")
	from, err := r.sources().find(o)
	if err == nil {
		err = o.set(&asked, from.value)
	}
	if err != nil {
		return usagef(r.command, "%s: %v", from.shown, err)
	}
	r.config, err = loadConfig(asked.Config, r.getenv, os.Geteuid())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return usagef(r.command, "%s: there is no %s", from.shown, asked.Config)
	case err != nil:
		return &failure{code: exitHost, command: r.command, message: err.Error(), hint: "it must be a file that this user may read"}
	}
	return nil
}

// sources are all of the request's.
func (r *mountRequest) sources() sources {
	src := sources{flag: r.flag, words: r.words.ours, getenv: r.getenv}
	if r.config != nil {
		src.file = r.config.lookup(r.mount)
	}
	return src
}

// settings resolves the options.
func (r *mountRequest) settings() (*settings, error) {
	name := ""
	if r.mount != nil {
		name = r.mount.name
	}
	if err := r.config.check(r.command, name); err != nil {
		return nil, err
	}
	s, err := resolve(r.command, r.opts, r.sources())
	if err != nil {
		return nil, err
	}
	if s.Keys, err = r.config.keys(r.mount, s, r.getenv); err != nil {
		f := usagef(r.command, "%v", err)
		f.hint = "write both, or none"
		return nil, f
	}
	kernel := r.words
	if v, ok := r.config.lookup(r.mount)("o"); ok { // checked when it was read
		if kernel, err = parseMountOptions(append([]string{v.value}, r.o...), r.sloppy); err != nil {
			return nil, usagef(r.command, "%s: o: %v", v.where(), err)
		}
	}
	s.MountWords = kernel.kernel
	return s, nil
}

// target settles what is to be mounted where: the arguments, or the named mount that the only one is.
func (r *mountRequest) target() (source, mountpoint string, err error) {
	const usage = "pailfs mount [BUCKET[/PREFIX]] MOUNTPOINT, or pailfs mount NAME of a configuration file"
	if err := checkArguments(r.command, usage, r.args, 1, 2); err != nil {
		return "", "", err
	}
	if len(r.args) == 2 {
		return r.args[0], r.args[1], nil
	}
	if !isName(r.args[0]) {
		return wholeAccount, r.args[0], nil
	}
	if r.mount = r.config.mount(r.args[0]); r.mount != nil {
		return cmp.Or(r.mount.source, wholeAccount), r.mount.mountpoint, nil
	}
	if near := nearest(r.args[0], r.config.names()); near != "" && !exists(r.args[0]) {
		f := usagef(r.command, "there is neither a mount nor a directory of the name %s", shown(r.args[0]))
		f.hint = fmt.Sprintf("did you mean `pailfs mount %s`? `pailfs config check` lists the mounts that have a name", near)
		return "", "", f
	}
	return wholeAccount, r.args[0], nil
}

// exists says whether there may be something of a name: a dead mount is something too.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}
