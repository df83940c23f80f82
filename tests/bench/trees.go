package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	treeDirs  = 40
	treeBytes = 8 * kib
)

// source is a tree of small files on the local disk, and what programs make of it.
type source struct {
	dir   string   // tree, tree.tar, tree.zip, tree.git
	files []object // of the tree, by path below it
	git   int      // files that a clone has, its pack and the like included
}

func (r *rig) treeTitle(program string) string {
	return fmt.Sprintf("%s of %d files of 8 KiB in %d directories", program, r.o.files, treeDirs)
}

// makeSource makes the tree, once.
func (r *rig) makeSource(ctx context.Context) (*source, error) {
	if r.source != nil {
		return r.source, nil
	}
	s := &source{dir: filepath.Join(r.dir, "source")}
	for i := range r.o.files {
		o := newObject(fmt.Sprintf("d%02d/f%05d.bin", i%treeDirs, i), treeBytes)
		path := filepath.Join(s.dir, "tree", o.key)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), writeObject(path, o)); err != nil {
			return nil, err
		}
		s.files = append(s.files, o)
	}
	clone := filepath.Join(s.dir, "clone")
	for _, line := range [][]string{
		{"tar", "cf", "tree.tar", "tree"},
		{"zip", "-qr0", "tree.zip", "tree"},
		{"git", "init", "-q", "tree.git"},
		{"cp", "-r", "tree/.", "tree.git/"},
		{"git", "-C", "tree.git", "add", "."},
		{"git", "-C", "tree.git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "tree"},
		{"git", "clone", "-q", "file://" + filepath.Join(s.dir, "tree.git"), clone},
	} {
		if _, err := exec.LookPath(line[0]); err != nil {
			continue // its row is left out
		}
		cmd := exec.CommandContext(ctx, line[0], line[1:]...)
		cmd.Dir = s.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", line, err, out)
		}
	}
	err := filepath.WalkDir(clone, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			s.git++
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // no git
		}
		return err
	})
	r.source = s
	return s, err
}

// trees: programs that make many small files one after another, behind the journal and not.
func (r *rig) trees(ctx context.Context) ([]row, error) {
	s, err := r.makeSource(ctx)
	if err != nil {
		return nil, err
	}
	programs := []struct {
		name  string
		files int
		line  []string // the directory comes last
	}{
		{"tar x", len(s.files), []string{"tar", "xf", "tree.tar", "-C"}},
		{"rsync -a", len(s.files), []string{"rsync", "-a", "tree"}},
		{"unzip", len(s.files), []string{"unzip", "-q", "tree.zip", "-d"}},
		{"git clone", s.git, []string{"git", "clone", "-q", "file://" + filepath.Join(s.dir, "tree.git")}},
	}
	var rows []row
	for _, p := range programs {
		if _, err := exec.LookPath(p.line[0]); err != nil {
			r.left = append(r.left, p.name+": not installed")
			continue
		}
		rows = append(rows, r.treeRow(s, p.name, p.files, p.line))
	}
	return rows, nil
}

func (r *rig) treeRow(src *source, name string, files int, line []string) row {
	w := row{title: r.treeTitle(name), unit: "files/s", value: perSecond, notes: []string{"raw: a PUT for each file of the tree, 16 at once",
		"pailfs: until everything is stored, by pailfs flush"}}
	count := func(s sample, err error) (sample, error) {
		s.Ops = int64(files)
		return s, errors.Join(err, r.direct.removeAll(context.Background(), "made/"))
	}
	w.steps = append(w.steps, step{name: rawName, run: func(ctx context.Context) (sample, error) {
		s, err := r.measureRaw(parallel, func(c *raw) error {
			return each(src.files, func(o object) error { o.key = "made/" + o.key; return c.put(ctx, o) })
		})
		s, err = count(s, err)
		s.Ops = int64(len(src.files))
		return s, err
	}})
	for _, by := range r.builds() {
		run := func(args ...string) func(context.Context) (sample, error) {
			return func(ctx context.Context) (sample, error) {
				s, err := r.measureMount(ctx, by, work{args: args, use: func(m *mount) error {
					if err := src.makeTree(ctx, m, line); err != nil {
						return err
					}
					if len(args) == 0 {
						return nil
					}
					return by.flush(m)
				}, after: func(m *mount) error { return checkTree(m.path("made"), src, line[0] == "git") }})
				s, err = count(s, err)
				s.Note = fmt.Sprintf("%.3f requests a file", float64(s.requests())/float64(files))
				return s, err
			}
		}
		w.steps = append(w.steps, step{name: by.name(), base: rawName, once: true, run: run()})
		if by.knows("durability") {
			w.steps = append(w.steps, step{name: by.name() + " " + behind, base: rawName, run: run("--durability=journal")})
		}
	}
	for _, by := range r.mounters[len(r.builds()):] {
		w.steps = append(w.steps, step{name: by.name(), base: rawName, once: true, run: func(ctx context.Context) (sample, error) {
			s, err := r.measureMount(ctx, by, work{use: func(m *mount) error {
				if err := src.makeTree(ctx, m, line); err != nil {
					return err
				}
				return r.awaitObjects(ctx, "made/", files)
			}})
			s, err = count(s, err)
			s.Note = fmt.Sprintf("%.3f requests a file", float64(s.requests())/float64(files))
			return s, err
		}})
	}
	return r.withFloor(w, int64(files), 0, nil, func(ctx context.Context, m *mount) error { return src.makeTree(ctx, m, line) })
}

// awaitObjects waits until the store has so many files under a prefix and nothing is on its way: a peer's close may return
// before, and none of them says when it has stored everything.
func (r *rig) awaitObjects(ctx context.Context, prefix string, n int) error {
	for {
		c, err := r.counts()
		if err != nil {
			return err
		}
		if c.InFlight == 0 {
			keys, err := r.direct.listAll(ctx, prefix)
			if err != nil {
				return err
			}
			keys = slices.DeleteFunc(keys, func(k string) bool { return strings.HasSuffix(k, "/") })
			if len(keys) >= n {
				return nil
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not all of %d files are stored: %w", n, ctx.Err())
		}
	}
}

func runIn(ctx context.Context, dir string, line []string, into string) error {
	cmd := exec.CommandContext(ctx, line[0], append(line[1:len(line):len(line)], into)...)
	if line[0] == "git" {
		cmd.Args[len(cmd.Args)-1] = filepath.Join(into, "clone")
	}
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

// checkTree compares the files of the tree, wherever below dir a program has put it.
func checkTree(dir string, src *source, git bool) error {
	at := filepath.Join(dir, "tree")
	if git {
		at = filepath.Join(dir, "clone")
	}
	for _, o := range src.files {
		b, err := os.ReadFile(filepath.Join(at, o.key))
		if err != nil {
			return err
		}
		want := make([]byte, o.size)
		if o.content.fill(want, 0); !bytes.Equal(b, want) {
			return fmt.Errorf("%s differs", o.key)
		}
	}
	if git {
		out, err := exec.Command("git", "-C", at, "status", "--porcelain").Output()
		if err != nil || len(bytes.TrimSpace(out)) > 0 {
			return fmt.Errorf("git status: %w\n%s", err, out)
		}
	}
	return nil
}

func (r *rig) removeTitle() string { return fmt.Sprintf("rm -r of %d objects", r.o.files) }

// remove: a directory with all that is in it.
func (r *rig) remove() row {
	w := row{title: r.removeTitle(), unit: "files/s", value: perSecond, notes: []string{behind + ": until everything is deleted, by pailfs flush"}}
	var objects []object
	for i := range r.o.files {
		objects = append(objects, newObject(fmt.Sprintf("gone/f%05d.bin", i), newBytes))
	}
	for i, by := range r.mounters {
		run := func(args ...string) func(context.Context) (sample, error) {
			return func(ctx context.Context) (sample, error) {
				if err := each(objects, func(o object) error { return r.direct.put(ctx, o) }); err != nil {
					return sample{}, err
				}
				s, err := r.measureMount(ctx, by, work{args: args, use: func(m *mount) error {
					if out, err := exec.CommandContext(ctx, "rm", "-r", m.path("gone")).CombinedOutput(); err != nil {
						return fmt.Errorf("rm: %w\n%s", err, out)
					}
					if len(args) == 0 {
						return nil
					}
					return r.builds()[i].flush(m)
				}})
				s.Ops = int64(len(objects))
				if left, listErr := r.direct.listAll(ctx, "gone/"); listErr != nil || len(left) > 0 {
					err = errors.Join(err, fmt.Errorf("%d objects are left: %w", len(left), listErr))
				}
				return s, err
			}
		}
		w.steps = append(w.steps, step{name: by.name(), once: true, run: run()})
		if i < len(r.builds()) && r.builds()[i].knows("durability") {
			w.steps = append(w.steps, step{name: by.name() + " " + behind, base: by.name(), run: run("--durability=journal")})
		}
	}
	return w
}

// listAll are all keys under a prefix.
func (r *raw) listAll(ctx context.Context, prefix string) (keys []string, err error) {
	for token := ""; ; {
		page, err := r.core.ListObjectsV2(bucket, prefix, "", token, "", 1000)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, o.Key)
		}
		if !page.IsTruncated || ctx.Err() != nil {
			return keys, ctx.Err()
		}
		token = page.NextContinuationToken
	}
}

// removeAll deletes everything under a prefix.
func (r *raw) removeAll(ctx context.Context, prefix string) error {
	keys, err := r.listAll(ctx, prefix)
	if err != nil {
		return err
	}
	var l []object
	for _, k := range keys {
		l = append(l, object{key: k})
	}
	return each(l, func(o object) error { return r.remove(ctx, o.key) })
}

// flush has a mount store everything, and waits for it.
func (p *pailfs) flush(m *mount) error {
	cmd := exec.Command(p.path, "flush", m.dir)
	cmd.Env = environment(m.base)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("flush: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
