package main

import (
	"context"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

const doctorUsage = "pailfs doctor [--write] [--json] [--bundle FILE] [BUCKET[/PREFIX]], or pailfs doctor --keys [--json] BUCKET[/PREFIX]"

// doctorOptions are those of the store, and those of a mount that a host may not be able to follow.
func doctorOptions() []option {
	var out []option
	for _, o := range options {
		if o.store || slices.Contains([]string{"allow-other", "cache-dir", "state-dir"}, o.name) {
			out = append(out, o)
		}
	}
	return out
}

func doctorCommand(std stdio) *cli.Command {
	own := []cli.Flag{
		&cli.BoolFlag{Name: "keys", Usage: "list the objects of BUCKET that a mount does not show, a line each with the reason, and check nothing else"},
		&cli.BoolFlag{Name: "write", Usage: "also write, copy and delete in BUCKET: small objects below a prefix of its own, .pailfs-doctor-..., deleted again in any case"},
		jsonFlag(),
		&cli.StringFlag{Name: "bundle", Usage: "also write what was found into a new archive (tar.gz) for who helps; there are no secrets in it, but names of hosts, mount points and files that are not stored"},
	}
	return &cli.Command{
		Name: "doctor", Usage: "say what is wrong with this host, these credentials, the store, and what to do", ArgsUsage: "[BUCKET[/PREFIX]]",
		Flags:              append(slices.Clone(own), cliFlags(doctorOptions())...),
		CustomHelpTemplate: doctorHelp(own),
		Action: func(c *cli.Context) error {
			d, err := newDoctor(c, std)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context, unix.SIGINT, unix.SIGTERM)
			defer stop()
			if c.Bool("keys") {
				return d.listKeys(ctx)
			}
			return d.run(ctx)
		},
	}
}

func doctorHelp(own []cli.Flag) string {
	var b strings.Builder
	b.WriteString(plainHelp(own, `   Without BUCKET the host and the store are looked at; with it, what may be done in the bucket as well, and which of its
   first objects a mount does not show. Nothing is changed without --write. Each finding is ok, a warning, failed or not
   checked, with what to do about it.

   The exit code is 0 when nothing has failed (warnings do not count) and 1 when something has. With --keys it is that of a
   command that lists: 0, or why it could not.

EXAMPLES:
   pailfs doctor --region KR1                  this host, these credentials, this region
   pailfs doctor --region KR1 --write photos   also the rights in a bucket
   pailfs doctor --region KR1 --keys photos    which objects no path reaches, and why
   pailfs doctor --bundle pailfs.tar.gz        an archive for who helps
`))
	b.WriteByte('\n')
	storeLines(&b, doctorOptions())
	return b.String()
}

// doctor is one run of `pailfs doctor`.
type doctor struct {
	s              *settings
	options        []givenOption // for the archive
	bucket, prefix string        // "" bucket: host and store alone
	write, json    bool
	bundle         string // "" for none
	std            stdio
	now            func() time.Time
	root           string // "/" but in tests
	uid            int

	report  report
	area    string // whose head was printed last
	blocked string // why the store is not asked any more; "" as long as it is
	sick    error  // of writing to std.out
}

func newDoctor(c *cli.Context, std stdio) (*doctor, error) {
	wrong := func(format string, args ...any) (*doctor, error) {
		f := usagef("doctor", format, args...)
		f.hint = doctorUsage
		return nil, f
	}
	d := &doctor{write: c.Bool("write"), json: c.Bool("json"), bundle: c.String("bundle"), std: std, now: time.Now, root: "/", uid: unix.Geteuid()}
	if err := checkArguments("doctor", doctorUsage, c.Args().Slice(), 0, 1); err != nil {
		return nil, err
	}
	switch {
	case c.NArg() == 0 && c.Bool("keys"):
		return wrong("--keys needs a BUCKET")
	case c.NArg() == 0 && d.write:
		return wrong("--write needs a BUCKET")
	case c.Bool("keys") && (d.write || d.bundle != ""):
		return wrong("--keys lists and checks nothing else: --write and --bundle do not go with it")
	}
	var err error
	if c.NArg() == 1 {
		if d.bucket, d.prefix, err = parseTarget(c.Args().First()); err != nil {
			return wrong("%v", err)
		}
	}
	if d.s, err = settingsOf(c, doctorOptions()); err != nil {
		return nil, err
	}
	d.options = givenOptions(c)
	return d, nil
}

// run makes all checks and says what they found, each as soon as it is known.
func (d *doctor) run(ctx context.Context) error {
	if err := d.checkBundle(); err != nil {
		return err
	}
	d.report = report{Version: buildInfo(), Time: d.now().UTC().Truncate(time.Second), Target: strings.TrimSuffix(d.bucket+"/"+d.prefix, "/"), Findings: []finding{}}
	d.checkTheHost()
	d.checkMounts(ctx)
	d.checkStore(ctx)
	if d.bundle != "" {
		if err := d.writeBundle(ctx); err != nil {
			return err
		}
	}
	if err := d.conclude(); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return &failure{code: exitInterrupted, command: "doctor", message: "interrupted"}
	case d.report.Failed > 0:
		return &failure{code: exitGeneral, command: "doctor", silent: true}
	}
	return nil
}

// conclude prints how many findings there are of each kind; as JSON all of them.
func (d *doctor) conclude() error {
	switch {
	case d.sick != nil:
		return fmt.Errorf("print what was found: %w", d.sick)
	case d.json:
		return printJSON(d.std.out, d.report)
	}
	r := d.report
	_, err := fmt.Fprintf(d.std.out, "\n%d ok, %d warnings, %d failed, %d not checked\n", r.OK, r.Warnings, r.Failed, r.NotChecked)
	return err
}
