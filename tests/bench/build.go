package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build builds the programs the rig needs.
func (r *rig) build(ctx context.Context) error {
	root, err := repository()
	if err != nil {
		return err
	}
	need := []string{"benchstore"}
	if r.o.store != storeBench {
		need = []string{"demostore", "lagproxy"}
	}
	if len(r.o.binaries) == 0 {
		need = append(need, "pailfs")
	}
	if r.o.floor {
		need = append(need, floorProgram)
	}
	for _, name := range need {
		if err := r.buildOne(ctx, root, name); err != nil {
			return err
		}
	}
	if len(r.o.binaries) == 0 {
		r.mounters = append(r.mounters, &pailfs{label: "pailfs", path: r.programs["pailfs"]})
		return nil
	}
	for i, line := range r.o.binaries {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			return errors.New("--binary: a path is needed")
		}
		path, err := filepath.Abs(fields[0])
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); err != nil {
			return err
		}
		p := &pailfs{label: "pailfs", path: path, args: fields[1:]}
		if len(r.o.binaries) > 1 {
			p.label = fmt.Sprintf("pailfs %c", 'A'+i)
		}
		r.mounters = append(r.mounters, p)
	}
	return nil
}

func (r *rig) buildOne(ctx context.Context, root, name string) error {
	where := map[string]struct{ dir, pkg string }{
		"benchstore": {".", "./tests/bench/store/cmd/benchstore"},
		"demostore":  {"contrib/demostore", "."},
		"lagproxy":   {".", "./tests/lagproxy/cmd/lagproxy"},
		"pailfs":     {".", "./cmd/pailfs"},
		floorProgram: {".", "github.com/hanwen/go-fuse/v2/example/loopback"},
	}[name]
	r.programs[name] = filepath.Join(r.dir, name)
	args := []string{"build", "-trimpath", "-o", r.programs[name]}
	if name == "pailfs" {
		args = append(args, "-ldflags", "-X main.version="+describe(root))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, where.pkg)...)
	cmd.Dir, cmd.Env = filepath.Join(root, where.dir), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return nil
}

func repository() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("run it inside the repository: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// describe is the version of the checkout, as `make build` names it.
func describe(root string) string {
	cmd := exec.Command("git", "describe", "--tags", "--always", "--dirty")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "devel"
	}
	return strings.TrimSpace(string(out))
}
