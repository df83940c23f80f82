package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

func (r *rig) parTitle() string {
	return fmt.Sprintf("%d readers of %d cold files of %d MiB", len(r.par), len(r.par), r.par[0].size/mib)
}

// parallel: as many sequential readers as files, at once.
func (r *rig) parallel() row {
	w := row{title: r.parTitle(), unit: "MB/s", value: megabytes, notes: []string{"raw: 16 ranged GETs of 8 MiB at once"}}
	w.steps = append(w.steps, step{name: rawName, run: func(ctx context.Context) (sample, error) { return r.rawRead(ctx, r.par...) }})
	for _, by := range r.mounters {
		w.steps = append(w.steps, step{name: by.name(), base: rawName, run: func(ctx context.Context) (sample, error) {
			s, err := r.measureMount(ctx, by, work{use: func(m *mount) error {
				var g errgroup.Group
				for _, o := range r.par {
					g.Go(func() error { return readFile(m.path(o.key), o) })
				}
				return g.Wait()
			}})
			for _, o := range r.par {
				s.Bytes += o.size
			}
			s.Ops = int64(len(r.par))
			return s, err
		}})
	}
	return w
}
