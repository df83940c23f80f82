package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// heart finds out whether a mount answers its kernel. A process of its own asks: one that waits for an answer of its own
// mount cannot be killed, since only its end would end the waiting. It is used by one goroutine at a time.
type heart struct {
	ask   func() error // comes back when the mount has answered, whatever
	asked chan error   // of the question that is out; nil: none is
}

// heartOf is that of a mount point.
func heartOf(mountpoint string) *heart {
	return &heart{ask: func() error {
		cmd := exec.Command("/proc/self/exe", answersCommandName, "--", mountpoint) // this program, also when its file was replaced
		cmd.Env = []string{}                                                        // it needs nothing, keys least of all
		err := cmd.Run()
		var ended *exec.ExitError
		if errors.As(err, &ended) {
			return nil // it was answered with an error: a mount that is gone
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errUnasked, err)
		}
		return nil
	}}
}

// errUnasked: there was no question that could have been answered.
var errUnasked = errors.New("no process to ask with")

// beats comes back with nil when the mount answers. While one question is out there is no second one: a mount that hangs must not
// gather processes. One that never comes back ends with this process, which is why nobody waits for it.
func (h *heart) beats(ctx context.Context) error {
	if h.asked == nil {
		h.asked = make(chan error, 1)
		go func(answer chan<- error) { answer <- h.ask() }(h.asked)
	}
	select {
	case err := <-h.asked:
		h.asked = nil
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

const answersCommandName = "answers"

// answersCommand is what heart calls.
func answersCommand() *cli.Command {
	return &cli.Command{
		Name: answersCommandName, Usage: "ask a mount point for an answer", ArgsUsage: "MOUNTPOINT", Hidden: true,
		Action: func(c *cli.Context) error {
			if err := checkArguments(answersCommandName, "", c.Args().Slice(), 1, 1); err != nil {
				return err
			}
			var st unix.Statfs_t // never answered by the kernel's caches, and needs no store
			if err := unix.Statfs(c.Args().First(), &st); err != nil {
				return &failure{code: exitMountPoint, command: answersCommandName, message: fmt.Sprintf("%s: %v", shown(c.Args().First()), err)}
			}
			return nil
		},
	}
}
