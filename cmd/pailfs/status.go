package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
)

func statusCommand(std stdio) *cli.Command {
	cmd := &cli.Command{
		Name: "status", Usage: "show how mounts are: what is not stored yet, caches, requests, the store", ArgsUsage: "[MOUNTPOINT]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print JSON: an array of objects, one for each mount"},
			&cli.BoolFlag{Name: "all", Usage: "all that is known of each mount, where there are several; without it a line of each"},
			&cli.BoolFlag{Name: "ready", Usage: "only say whether the mount can be used: exit code 0 when it is mounted and the store answers, else 1"},
			&cli.GenericFlag{Name: "watch", Value: new(watchFlag), Usage: "show it again every 2 seconds, or every VALUE (0.5, 10s, 1m)"},
		},
		Action: func(c *cli.Context) error {
			const usage = "pailfs status [--all] [--json] [--watch[=SECONDS]] [--ready] [MOUNTPOINT]"
			if err := checkArguments("status", usage, c.Args().Slice(), 0, 1); err != nil {
				return err
			}
			if c.Bool("ready") {
				return ready(c.Context, std, c.Args().First())
			}
			every, err := c.Generic("watch").(*watchFlag).interval()
			if err != nil {
				return usagef("status", "--watch: %v", err)
			}
			s := &status{given: mountpointOf(c.Args().First()), json: c.Bool("json"), all: c.Bool("all"), dirs: runDirs(), std: std, now: time.Now}
			return s.run(c.Context, every)
		},
	}
	cmd.CustomHelpTemplate = plainHelp(cmd.Flags, `   Without MOUNTPOINT all mounts of this user, for root those of all users: a table when there are several. Any path on
   a mount stands for it, and so does its NAME in the configuration file.
   A mount that was unmounted and is still storing is shown as well, and one whose process was killed.

   The exit code is 0 when each mount answers, 6 when one does not, 8 when one has ended and left data that the store
   does not have. --ready is for probes: it asks the store when nothing was heard of it for ten seconds.
`)
	return cmd
}

// watchFlag is how often to look, as given. It may stand without a value.
type watchFlag string

// IsBoolFlag tells the flag package that the value may be missing: it sets "true" then.
func (w *watchFlag) IsBoolFlag() bool { return true }

func (w *watchFlag) String() string { return "" }

func (w *watchFlag) Set(v string) error {
	*w = watchFlag(v)
	return nil
}

// interval is the time between two looks; 0 looks once.
func (w *watchFlag) interval() (time.Duration, error) {
	const usual = 2 * time.Second
	switch *w {
	case "", "false":
		return 0, nil
	case "true":
		return usual, nil
	}
	d, err := parseDuration(string(*w))
	if err != nil {
		return 0, err
	}
	if d < 100*time.Millisecond || d > 24*time.Hour {
		return 0, fmt.Errorf("%v is not between 0.1 seconds and a day", d)
	}
	return d, nil
}

// status is one run of `pailfs status`.
type status struct {
	given string // "" for all mounts
	json  bool
	all   bool     // everything of several mounts as well
	dirs  []string // where runtime files may lie
	std   stdio
	now   func() time.Time
}

func (s *status) run(ctx context.Context, every time.Duration) error {
	if every == 0 {
		return s.once(ctx, s.std.out)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	_, terminal := terminalWidth(s.std.out)
	for {
		var page strings.Builder
		err := s.once(ctx, &page)
		if err != nil && !failureOf(err).silent {
			return err
		}
		if terminal {
			fmt.Fprint(s.std.out, "\x1b[H\x1b[2J")
		}
		if _, err := io.WriteString(s.std.out, page.String()); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if !terminal && !s.json {
			fmt.Fprintln(s.std.out)
		}
	}
}

// once shows everything once. The error is silent when it only says that not all is well.
func (s *status) once(ctx context.Context, out io.Writer) error {
	views, err := s.views()
	if err != nil {
		return err
	}
	reports := reportsOf(ctx, views)
	for _, v := range views {
		v.Close()
	}
	if s.given != "" && len(reports) == 0 {
		return s.notMounted("it has just been unmounted, and everything is stored")
	}
	switch {
	case s.json:
		err = printJSON(out, reports)
	case len(reports) > 1 && !s.all:
		err = printTable(out, reports, s.now())
	default:
		err = printReports(out, reports, s.now())
	}
	if err != nil {
		return err
	}
	code := exitOK
	for _, r := range reports {
		code = max(code, codeOf(r))
	}
	if code != exitOK {
		return &failure{code: code, command: "status", silent: true}
	}
	return nil
}

func (s *status) notMounted(why string) *failure {
	return &failure{code: exitMountPoint, command: "status", message: fmt.Sprintf("%s: %s", shown(s.given), why),
		hint: "`pailfs status` lists the mounts"}
}

// views are the runtime files to report. A mount that is unmounted and still storing is found by its mount point.
func (s *status) views() ([]*runtimeView, error) {
	if s.given == "" {
		return knownMounts(s.dirs), nil
	}
	table, err := readMounts()
	if err != nil {
		return nil, &failure{code: exitHost, command: "status", message: fmt.Sprintf("the mount table cannot be read: %v", err)}
	}
	p, err := table.locate(s.dirs, "status", workingDirectory(), s.given)
	if err == nil {
		return []*runtimeView{p.view}, nil
	}
	if where, pathErr := realPath(s.given); pathErr == nil {
		if view, viewErr := viewRuntime(s.dirs, where); viewErr == nil {
			return []*runtimeView{view}, nil
		}
	}
	return nil, err
}

// reportsOf asks all mounts at once. One that has ended well meanwhile has nothing to report.
func reportsOf(ctx context.Context, views []*runtimeView) []statusReport {
	all := make([]*statusReport, len(views))
	var asking sync.WaitGroup
	for i, v := range views {
		asking.Go(func() { all[i] = reportOn(ctx, v) })
	}
	asking.Wait()
	reports := []statusReport{} // [] in JSON
	for _, r := range all {
		if r != nil {
			reports = append(reports, *r)
		}
	}
	slices.SortFunc(reports, func(a, b statusReport) int { return strings.Compare(a.Mountpoint, b.Mountpoint) })
	return reports
}

// reportOn is one mount, nil for one that has ended and left nothing to say.
func reportOn(ctx context.Context, v *runtimeView) *statusReport {
	state, err := v.Read()
	r := reportOf(state)
	if err != nil {
		r.State, r.Why = stateUnanswered, fmt.Sprintf("its runtime file %s is damaged: %v", v.f.Name(), err)
		return &r
	}
	if v.Ended() {
		return endOf(v)
	}
	switch {
	case state.Ending:
		r.State = stateDraining
		return &r
	case state.Socket == "" && time.Since(state.Started) < startingFor:
		r.State = stateStarting
		return &r
	}
	answer, err := daemon{v, "status", state.Mountpoint}.Status(ctx)
	switch {
	case err == nil:
		return &answer
	case v.Ended():
		return endOf(v)
	}
	f := failureOf(err)
	r.State, r.Why = stateUnanswered, f.message
	if f.hint != "" {
		r.Why += " (" + f.hint + ")"
	}
	return &r
}

// startingFor is how long a process without a socket counts as one that mounts: the store is asked first.
const startingFor = longestProbe + answerPatience

// endOf is a mount whose process is gone.
func endOf(v *runtimeView) *statusReport {
	state, err := v.Read() // once more: the result comes last
	r := reportOf(state)
	switch {
	case err != nil:
		r.State, r.Why = stateKilled, fmt.Sprintf("its runtime file %s is damaged: %v", v.f.Name(), err)
	case state.Result == nil:
		r.State, r.Drain = stateKilled, nil
		r.Why = "its process is gone without a word; mount it again, and what it had not stored is stored"
	case state.Result.Code == exitOK:
		return nil
	default:
		r.State, r.Drain = stateEnded, nil
		r.Why = state.Result.Message
		if state.Result.Hint != "" {
			r.Why += " (" + state.Result.Hint + ")"
		}
		r.Unsaved = unsavedOf(state.Result.Unsaved)
	}
	return &r
}

// codeOf is what the state of a mount means for the exit code.
func codeOf(r statusReport) int {
	switch r.State {
	case stateKilled, stateUnanswered:
		return exitMountPoint
	case stateEnded:
		return exitUnsaved
	}
	return exitOK
}
