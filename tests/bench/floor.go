package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// floor is a FUSE file system with nothing behind it but a directory in memory: go-fuse's own example. No file system of this
// library is faster, whatever its store costs.
type floor struct{ path string }

const (
	floorName = "fuse alone"
	floorNote = floorName + ": go-fuse's loopback over a directory in memory; nothing is stored anywhere"
)

func (floor) name() string { return floorName }

func (p floor) command(_ *rig, base, mountpoint string, args []string) (*exec.Cmd, error) {
	origin := filepath.Join(base, "origin")
	if err := os.Mkdir(origin, 0o700); err != nil {
		return nil, err
	}
	return exec.Command(p.path, append(append([]string{"-q", "-directmount"}, args...), mountpoint, origin)...), nil
}

func (floor) complaint(status int, log string) error {
	if status != 0 {
		return fmt.Errorf("%s ended with status %d:\n%s", floorName, status, log)
	}
	return nil
}

// withFloor adds a step that does a row's work on the floor, where that is asked for: it says which part of a distance to
// the base is FUSE's own.
func (r *rig) withFloor(w row, ops, bytes int64, before func(*mount) error, use func(context.Context, *mount) error) row {
	by, ok := r.floor()
	if !ok {
		return w
	}
	w.notes = append(w.notes, floorNote)
	base := ""
	if len(w.steps) > 0 && w.steps[0].name == rawName {
		base = rawName
	}
	w.steps = append(w.steps, step{name: floorName, base: base, run: func(ctx context.Context) (sample, error) {
		s, err := r.measureMount(ctx, by, work{before: before, use: func(m *mount) error { return use(ctx, m) }})
		s.Ops, s.Bytes = ops, bytes
		return s, err
	}})
	return w
}

func (r *rig) floor() (floor, bool) {
	path, ok := r.programs[floorProgram]
	return floor{path}, ok
}

const floorProgram = "loopback"

// makeTree has a program make the tree in a fresh directory of a mount.
func (s *source) makeTree(ctx context.Context, m *mount, line []string) error {
	into := m.path("made")
	return errors.Join(os.Mkdir(into, 0o755), runIn(ctx, s.dir, line, into))
}
