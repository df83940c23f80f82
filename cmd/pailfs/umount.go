package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	pfs "pailfs/fs"
	"pailfs/fs/journal"
)

// mountType is what the mount table calls our mounts.
const mountType = "fuse.pailfs"

// umountPoll is how often a mount that is storing is looked at.
const umountPoll = 100 * time.Millisecond

func umountCommand(std stdio) *cli.Command {
	cmd := &cli.Command{
		Name: "umount", Aliases: []string{"unmount"}, Usage: "unmount and wait until everything is stored", ArgsUsage: "MOUNTPOINT",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "timeout", Usage: "wait this long for what is being stored, then leave it to the background (default: no limit)"},
			&cli.BoolFlag{Name: "force", Usage: "take the mount away although programs use it; they get errors from then on"},
			&cli.BoolFlag{Name: "lazy", Usage: "take its name away at once, and wait for nothing: it ends when the last file is closed"},
		},
		Action: func(c *cli.Context) error {
			if err := checkArguments("umount", "pailfs umount [--timeout TIME] [--force | --lazy] MOUNTPOINT", c.Args().Slice(), 1, 1); err != nil {
				return err
			}
			u := &umount{program: "pailfs: umount", given: mountpointOf(c.Args().First()), force: c.Bool("force"), lazy: c.Bool("lazy"), std: std, dirs: runDirs()}
			if v := c.String("timeout"); v != "" {
				d, err := parseDuration(v)
				if err != nil || d <= 0 {
					return usagef("umount", "--timeout: %q is no time: 90s, 2m, 1h30m", v)
				}
				u.timeout = d
			}
			return u.run(c.Context)
		},
	}
	cmd.CustomHelpTemplate = plainHelp(cmd.Flags, `   Without --force a mount that programs use stays. What is being stored is shown; Ctrl-C ends the waiting, not the storing, and
   the same command waits again. After a crash it takes the dead mount away and says what was left.
   umount(8) does the same where umount.fuse.pailfs is installed; fusermount3 -u unmounts and cannot wait.
   MOUNTPOINT may be the NAME that a mount has in the configuration file.

   The exit code is 0 when everything is stored, 6 when the mount is in use or there is none, 8 when something is not stored:
   it is named, and kept for the next mount.
`)
	return cmd
}

// umount is one run of `pailfs umount`.
type umount struct {
	program string // as messages begin
	given   string
	force   bool
	lazy    bool
	timeout time.Duration // 0: no limit
	std     stdio
	dirs    []string // where runtime files may lie

	mountpoint string
}

// runDirs are the places of runtime files: the own one, and for root those of users.
func runDirs() []string {
	dirs := []string{runDir()}
	if os.Geteuid() == 0 {
		for _, pattern := range []string{"/run/user/*/pailfs", filepath.Join(os.TempDir(), "pailfs-[0-9]*")} {
			more, _ := filepath.Glob(pattern) // the patterns are well-formed
			dirs = append(dirs, more...)
		}
	}
	return dirs
}

func (u *umount) fail(code int, hint, format string, args ...any) *failure {
	return &failure{code: code, command: "umount", message: fmt.Sprintf("cannot unmount %s: ", u.given) + fmt.Sprintf(format, args...), hint: hint}
}

func (u *umount) run(ctx context.Context) error {
	where, err := u.place()
	if err != nil {
		return u.fail(exitMountPoint, "", "%v", err)
	}
	u.mountpoint = where
	info, err := pfs.TopMount(where)
	if err != nil {
		return u.fail(exitHost, "", "the mount table cannot be read: %v", err)
	}
	// The view is opened first: a mount that ends well removes its file.
	view, viewErr := viewRuntime(u.dirs, where)
	if viewErr == nil {
		defer view.Close()
	}
	if info == nil || info.FSType != mountType && view != nil { // a container's volume is a mount, too
		return u.notMounted(ctx, view)
	}
	if info.FSType != mountType {
		return u.fail(exitMountPoint, fmt.Sprintf("umount %s", u.given), "it is a mount of type %s, not of pailfs", info.FSType)
	}
	if err := u.detach(info); err != nil {
		return err
	}
	if view == nil {
		return u.blind(viewErr)
	}
	if u.force {
		if err := u.stop(view); err != nil {
			return err
		}
	}
	if u.lazy {
		return u.leave(ctx, view)
	}
	return u.await(ctx, view)
}

// leave says what goes on after a lazy unmount.
func (u *umount) leave(ctx context.Context, view *runtimeView) error {
	s, err := daemon{view, "umount", u.mountpoint}.Status(ctx)
	if err != nil || s.Pending == nil || s.Pending.Files+s.Pending.Names == 0 { // nothing is left, or it has ended meanwhile
		return nil
	}
	fmt.Fprintf(u.std.err, "%s: %s is detached; its process (pid %d) still has to store %s\n", u.program, u.given, s.PID, pendingCount(*s.Pending))
	return nil
}

// pendingCount is how much is not stored yet.
func pendingCount(p pendingReport) string {
	var words []string
	if p.Files > 0 {
		words = append(words, fmt.Sprintf("%s (%s)", files(p.Files), formatSize(p.Bytes)))
	}
	if p.Names > 0 {
		words = append(words, names(int64(p.Names)))
	}
	return strings.Join(words, " and ")
}

// stop tells the process of a mount that was taken away by force to end: programs that still hold files would keep it
// alive for as long as they like.
func (u *umount) stop(view *runtimeView) error {
	state, err := view.Read()
	if err != nil || view.Ended() { // ended: the pid may be another process's by now
		return nil
	}
	if !view.Owns(state.PID) {
		return &failure{code: exitHost, command: "umount", message: fmt.Sprintf("%s is taken away, but process %d is not of the user whose mount it was: it is left alone", u.given, state.PID)}
	}
	if err := unix.Kill(state.PID, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
		return &failure{code: exitHost, command: "umount", message: fmt.Sprintf("%s is taken away, but its process %d cannot be told to end: %v", u.given, state.PID, err)}
	}
	return nil
}

// notMounted is for a place where nothing is mounted any more: its mount may still be storing, or have left a result.
func (u *umount) notMounted(ctx context.Context, view *runtimeView) error {
	if view == nil {
		return u.fail(exitMountPoint, "`pailfs status` lists the mounts", "nothing is mounted there")
	}
	if err := u.stopLent(view); err != nil {
		return err
	}
	return u.await(ctx, view)
}

// blind is for a mount that went without a runtime file that can be read: whether all is stored is not known.
func (u *umount) blind(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(u.std.err, "%s: unmounted; no process of this host is known to serve %s, its log says whether all is stored\n", u.program, u.given)
		return nil
	}
	return &failure{code: exitGeneral, command: "umount", message: fmt.Sprintf("unmounted, but whether all is stored is not known: %v", err),
		hint: "the log of the mount tells"}
}

// await waits until the process that served the mount has ended and passes on how.
func (u *umount) await(ctx context.Context, view *runtimeView) error {
	if u.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, u.timeout)
		defer cancel()
	}
	show := newProgressShow(u.program+": storing", u.std.err, time.Now)
	ticker := time.NewTicker(umountPoll)
	defer ticker.Stop()
	for looks := 1; !view.Ended(); looks++ {
		if s, err := view.Read(); err == nil && s.Progress != nil {
			show.storing(*s.Progress)
		} else if looks%copyLooks == 0 && u.held(ctx, view) {
			show.clear()
			return u.storedBeside(ctx, view)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			show.clear()
			return u.stillStoring(view)
		}
	}
	show.clear()
	return u.ended(view)
}

func (u *umount) stillStoring(view *runtimeView) error {
	text := "it goes on in the background"
	if s, err := view.Read(); err == nil {
		text += fmt.Sprintf(" (pid %d)", s.PID)
		if s.Progress != nil {
			text += fmt.Sprintf(", %v stored", *s.Progress)
		}
	}
	return &failure{code: exitUnsaved, command: "umount", message: fmt.Sprintf("%s is unmounted but not all is stored yet: %s", u.given, text),
		hint: fmt.Sprintf("`pailfs umount %s` waits for it again", u.given)}
}

// ended reads the result of a mount whose process is gone.
func (u *umount) ended(view *runtimeView) error {
	state, err := view.Read()
	if err != nil {
		return &failure{code: exitGeneral, command: "umount", message: fmt.Sprintf("the runtime file of %s is damaged: %v", u.given, err)}
	}
	defer view.Forget(u.dirs[0])
	if state.Result == nil {
		return u.killed(state)
	}
	if state.Result.Code == exitOK {
		return nil
	}
	printUnsaved(u.std.err, state.Result.Unsaved)
	return &failure{code: state.Result.Code, command: "umount", message: oneLine(state.Result.Message), hint: state.Result.Hint}
}

// killed is for a process that left no result: what it has not stored is in its journal.
func (u *umount) killed(state runtimeState) error {
	fmt.Fprintf(u.std.err, "%s: the process that served %s (pid %d) had ended without a word%s\n", u.program, u.given, state.PID, logWords(state))
	list, err := leftInJournal(journalDir(state.StateDir, state.Mountpoint))
	switch {
	case errors.Is(err, journal.ErrLocked): // a new mount has it, and stores it
		return nil
	case err != nil:
		return &failure{code: exitGeneral, command: "umount", message: fmt.Sprintf("whether all is stored is not known: %v", err),
			hint: "mount it again with the same state directory"}
	case len(list) == 0:
		return nil
	}
	printUnsaved(u.std.err, list)
	res := leftBehind(list, state.StateDir, state.Mountpoint)
	return &failure{code: res.Code, command: "umount", message: res.Message, hint: res.Hint}
}

func logWords(s runtimeState) string {
	if s.LogFile == "" {
		return ""
	}
	return "; its log is " + shown(s.LogFile)
}

// printUnsaved lists what is left, at most as much as fits a screen.
func printUnsaved(w io.Writer, list []unsavedFile) {
	const most = 20
	for i, f := range list {
		if i == most {
			fmt.Fprintf(w, "... and %d more\n", len(list)-most)
			return
		}
		line := "not stored: " + f.what()
		if f.Error != "" {
			line += ": " + f.Error
		}
		fmt.Fprintln(w, oneLine(line))
	}
}
