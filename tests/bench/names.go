package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sys/unix"
)

const (
	flatFiles  = 50_000
	walkDirs   = 100
	movedFiles = 1000
	headsAtOne = 32

	flatTitle    = "ls -f of a directory of 50,000 files"
	renameTitle  = "rename of a directory of 1,000 objects"
	cachedTitle  = "stat of a known file, from the kernel's cache"
	beyondTitle  = "stat of a known file, past the kernel's cache"
	basicMount   = "--attributes=basic"
	patientMount = "--metadata-ttl=1h"
)

func (r *rig) longTitle() string {
	return fmt.Sprintf("ls -l of %d files, cold, with attributes", r.o.files)
}

func (r *rig) walkTitle(program string) string {
	return fmt.Sprintf("%s over %d files in %d directories, cold", program, walkDirs*walkDirs, walkDirs)
}

// names are the rows of listing, looking up and renaming.
func (r *rig) names() []row {
	rows := []row{r.flat(), r.long(), r.rename(), r.stat(cachedTitle, 0), r.stat(beyondTitle, unix.AT_STATX_FORCE_SYNC)}
	for _, line := range [][]string{{"find", ".", "-size", "+9"}, {"du", "-s", "."}, {"rsync", "-an", "."}} {
		if _, err := exec.LookPath(line[0]); err == nil {
			rows = append(rows, r.walk(line))
		} else {
			r.left = append(r.left, line[0]+": not installed")
		}
	}
	return rows
}

// filled stores tiny objects once, past the distance.
func (r *rig) filled(ctx context.Context, prefix string, n int, name func(int) string) error {
	if r.has[prefix] {
		return nil
	}
	l := make([]object, n)
	for i := range l {
		l[i] = newObject(prefix+name(i), 64)
	}
	err := each(l, func(o object) error { return r.direct.put(ctx, o) })
	if err == nil {
		r.has[prefix] = true
	}
	return err
}

// against is a row whose work is done by a bare client and by every mount, over n files that are stored before.
func (r *rig) against(w row, n int, fill func(context.Context) error, raws []step, args []string, use func(context.Context, *mount) error) row {
	w.unit, w.value = "files/s", perSecond
	base := ""
	for _, s := range raws {
		s.run = prepare(n, fill, s.run)
		w.steps, base = append(w.steps, s), s.name
	}
	for i, by := range r.mounters {
		args := args
		if i >= len(r.builds()) {
			args = nil
		}
		w.steps = append(w.steps, step{name: by.name(), base: base, once: i >= len(r.builds()), run: prepare(n, fill, func(ctx context.Context) (sample, error) {
			return r.measureMount(ctx, by, work{args: args, use: func(m *mount) error { return use(ctx, m) }})
		})})
	}
	return w
}

// basicName is a mount that shows what listings say.
const basicName = "basic"

// prepare is a step's work over n files that are stored before it.
func prepare(n int, fill func(context.Context) error, run func(context.Context) (sample, error)) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		if err := fill(ctx); err != nil {
			return sample{}, err
		}
		s, err := run(ctx)
		s.Ops = int64(n)
		s.Note = fmt.Sprintf("%d requests", s.requests())
		return s, err
	}
}

// flat: names alone, as many as there are.
func (r *rig) flat() row {
	fill := func(ctx context.Context) error {
		return r.filled(ctx, "flat/", flatFiles, func(i int) string { return fmt.Sprintf("f%05d", i) })
	}
	raw := step{name: rawName, run: func(context.Context) (sample, error) {
		return r.measureRaw(1, func(c *raw) error {
			keys, err := c.list("flat/")
			return counted(len(keys), flatFiles, err)
		})
	}}
	return r.against(row{title: flatTitle, notes: []string{"raw: a page after the other"}}, flatFiles, fill, []step{raw}, nil,
		func(_ context.Context, m *mount) error {
			n, err := namesIn(m.path("flat"))
			return counted(n, flatFiles, err)
		})
}

func counted(n, want int, err error) error {
	if err == nil && n != want {
		err = fmt.Errorf("%d names, not %d", n, want)
	}
	return err
}

// namesIn reads a directory as ls -f does.
func namesIn(dir string) (n int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for {
		some, err := d.Readdirnames(1000)
		n += len(some)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// long: names and what each file's own headers say.
func (r *rig) long() row {
	n := r.o.files
	fill := func(ctx context.Context) error {
		return r.filled(ctx, "long/", n, func(i int) string { return fmt.Sprintf("f%05d", i) })
	}
	raw := step{name: rawMany, run: func(ctx context.Context) (sample, error) {
		return r.measureRaw(headsAtOne, func(c *raw) error {
			keys, err := c.list("long/")
			if err := counted(len(keys), n, err); err != nil {
				return err
			}
			return eachOf(headsAtOne, keys, func(key string) error {
				_, err := c.core.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
				return err
			})
		})
	}}
	use := func(ctx context.Context, m *mount) error {
		out, err := inDir(ctx, m.path("long"), "ls", "-l")
		return counted(strings.Count(out, "\n"), n+1, err)
	}
	notes := []string{"raw: a list, and a HEAD for each file, 32 at once", basicName + ": what the listing says, as rclone with --use-server-modtime"}
	w := r.against(row{title: r.longTitle(), notes: notes, why: map[string]string{rclone{}.name(): "It shows no mode, owner and time of the file's own: " +
		"pailfs does the same with `--attributes basic`."}}, n, fill, []step{raw}, nil, use)
	for _, by := range r.builds() {
		if by.knows("attributes") {
			w.steps = append(w.steps, step{name: by.name() + " " + basicName, base: rawMany, run: prepare(n, fill, func(ctx context.Context) (sample, error) {
				return r.measureMount(ctx, by, work{args: []string{"--attributes=basic"}, use: func(m *mount) error { return use(ctx, m) }})
			})})
		}
	}
	return w
}

// inDir is what a program prints.
func inDir(ctx context.Context, dir string, line ...string) (string, error) {
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir = dir
	var wrong strings.Builder
	cmd.Stderr = &wrong
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s", line, err, wrong.String())
	}
	return string(out), err
}

// rename: copies and deletions, as many at once as the bare client has connections.
func (r *rig) rename() row {
	name := func(i int) string { return fmt.Sprintf("f%04d", i) }
	fill := func(ctx context.Context) error {
		r.has["old/"] = false // the one before has taken them away
		return errors.Join(r.direct.removeAll(ctx, "moved/"), r.filled(ctx, "old/", movedFiles, name))
	}
	raw := step{name: rawName, run: func(ctx context.Context) (sample, error) {
		return r.measureRaw(parallel, func(c *raw) error {
			keys, err := c.list("old/")
			if err := counted(len(keys), movedFiles, err); err != nil {
				return err
			}
			return eachOf(parallel, keys, func(key string) error {
				_, err := c.core.CopyObject(ctx, bucket, key, bucket, "moved/"+path.Base(key), nil, minio.CopySrcOptions{}, minio.PutObjectOptions{})
				if err != nil {
					return err
				}
				return c.remove(ctx, key)
			})
		})
	}}
	return r.against(row{title: renameTitle, notes: []string{"raw: a copy and a deletion for each, 16 at once"}}, movedFiles, fill, []step{raw}, nil,
		func(ctx context.Context, m *mount) error {
			if err := os.Rename(m.path("old"), m.path("moved")); err != nil {
				return err
			}
			left, err := r.direct.listAll(ctx, "old/")
			if err := counted(len(left), 0, err); err != nil {
				return err
			}
			made, err := r.direct.listAll(ctx, "moved/f")
			return counted(len(made), movedFiles, err)
		})
}

// stat: one file after the other, all of which are known.
func (r *rig) stat(title string, how int) row {
	const rounds = 20
	w := row{title: title, unit: "stats/s", value: perSecond}
	for _, by := range r.builds() {
		w.steps = append(w.steps, step{name: by.name(), run: func(ctx context.Context) (sample, error) {
			if err := r.filled(ctx, "long/", r.o.files, func(i int) string { return fmt.Sprintf("f%05d", i) }); err != nil {
				return sample{}, err
			}
			look := func(m *mount) error { return statAll(m.path("long"), r.o.files, how) }
			began := time.Now()
			s, err := r.measureMount(ctx, by, work{args: []string{patientMount}, before: func(m *mount) error {
				if _, err := namesIn(m.path("long")); err != nil {
					return err
				}
				err := errors.Join(look(m), look(m))
				began = time.Now()
				return err
			}, use: func(m *mount) error {
				for n := 0; n < rounds; n++ {
					if err := look(m); err != nil {
						return err
					}
				}
				return nil
			}})
			s.Ops = int64(r.o.files) * rounds
			if how == 0 && time.Since(began) > 10*time.Second {
				s.Note = "longer than the kernel keeps what it was told"
			}
			return s, err
		}})
	}
	return r.withFloor(w, int64(r.o.files)*rounds, 0, func(m *mount) error {
		for i := range r.o.files {
			if err := os.WriteFile(m.path(fmt.Sprintf("f%05d", i)), nil, 0o644); err != nil {
				return err
			}
		}
		return nil
	}, func(_ context.Context, m *mount) error {
		for range rounds {
			if err := statAll(m.dir, r.o.files, how); err != nil {
				return err
			}
		}
		return nil
	})
}

// statAll looks at files one after the other.
func statAll(dir string, files, how int) error {
	var st unix.Statx_t
	for i := range files {
		if err := unix.Statx(unix.AT_FDCWD, filepath.Join(dir, fmt.Sprintf("f%05d", i)), how, unix.STATX_BASIC_STATS, &st); err != nil {
			return err
		}
	}
	return nil
}

// walk: a program that looks at everything in a tree of 10,000 files.
func (r *rig) walk(line []string) row {
	const n = walkDirs * walkDirs
	fill := func(ctx context.Context) error {
		return r.filled(ctx, "walk/", n, func(i int) string { return fmt.Sprintf("d%02d/f%02d", i/walkDirs, i%walkDirs) })
	}
	raw := step{name: rawName, run: func(ctx context.Context) (sample, error) {
		return r.measureRaw(1, func(c *raw) error {
			keys, err := c.listAll(ctx, "walk/")
			return counted(len(keys), n, err)
		})
	}}
	if line[0] == "rsync" {
		line = append(line[:len(line):len(line)], path.Join(r.dir, "nowhere"))
	}
	return r.against(row{title: r.walkTitle(line[0]), notes: []string{"raw: a list of all keys; pailfs: " + basicMount}}, n, fill, []step{raw}, []string{basicMount},
		func(ctx context.Context, m *mount) error {
			_, err := inDir(ctx, m.path("walk"), line...)
			return err
		})
}
