package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"pailfs/tests/bench/store"
)

// row is one table: the same work, done by several.
type row struct {
	title string
	unit  string // of what value gives
	value func(sample) float64
	// lower says that less is better.
	lower bool
	steps []step
	notes []string
	// why a peer may be ahead here, by its name.
	why map[string]string
}

// step is what one of them does in a row.
type step struct {
	name string
	// base is the step it is compared to, "" for none.
	base string
	// once: in the first round alone, because it takes long and always takes as long.
	once bool
	run  func(context.Context) (sample, error)
}

// onceLimit is how long a step goes on that is measured once. A peer that is still at it then is told how slow it is at least; it is no failure.
const onceLimit = 2 * time.Minute

// sample is one measurement.
type sample struct {
	Seconds  float64
	Ops      int64        // files or reads
	Bytes    int64        // that the program asked for
	CPU      float64      // seconds of the mount's process; of this one where there is no mount
	Reader   float64      // seconds of the program that reads the mount
	StoreCPU float64      // seconds of the store
	PeakRSS  int64        // of the mount's process, while it was measured
	Counts   store.Counts // requests of this measurement
	Note     string       `json:",omitempty"` // what else is to be known
}

// key names a series of measurements.
type key struct{ link, row, step string }

// results are all measurements.
type results struct {
	samples map[key][]sample
	tables  []table               // in the order of measuring
	late    map[key]time.Duration // what had not ended after this time, and was broken off
	errs    []error
}

type table struct {
	link link
	row  row
}

// failed is an error when a measurement was; what it was has been said.
func (r *results) failed() error {
	if len(r.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%d measurements failed", len(r.errs))
}

// builds are the mounters that are pailfs.
func (r *rig) builds() (l []*pailfs) {
	for _, m := range r.mounters {
		if p, ok := m.(*pailfs); ok {
			l = append(l, p)
		}
	}
	return l
}

func rowNames() []string {
	return []string{"seqread", "firstbyte", "again", "randread", "smallfiles", "parallel", "write", "edit", "newfiles", "trees", "remove", "names"}
}

// rowsOf are the rows of a group at the present link.
func (r *rig) rowsOf(ctx context.Context, group string) ([]row, error) {
	switch group {
	case "seqread":
		return []row{r.seqread()}, nil
	case "firstbyte":
		return r.firstbyte(), nil
	case "again":
		return r.again()
	case "randread":
		return r.randread(), nil
	case "smallfiles":
		return []row{r.smallfiles()}, nil
	case "parallel":
		return []row{r.parallel()}, nil
	case "write":
		return []row{r.write()}, nil
	case "edit":
		return r.edit(), nil
	case "newfiles":
		return []row{r.newfiles()}, nil
	case "trees":
		return r.trees(ctx)
	case "remove":
		return []row{r.remove()}, nil
	case "names":
		return r.names(), nil
	}
	return nil, fmt.Errorf("no row %q", group)
}

// measureAll measures every row at every link. Rounds go around rows, and the order within a row turns with them, so that
// none always comes after the same other and a slow minute of the machine is no one's alone.
//
// What was measured until an error or an interrupt comes with it.
func (r *rig) measureAll(ctx context.Context) (*results, error) {
	res := &results{samples: map[key][]sample{}, late: map[key]time.Duration{}}
	for i, name := range r.o.links {
		l, _ := linkNamed(name)
		if err := r.setLink(l); err != nil {
			return res, err
		}
		var tables []table
		for _, group := range r.o.rows {
			if group == "again" && i < len(r.o.links)-1 {
				continue // nothing of it depends on the distance
			}
			rows, err := r.rowsOf(ctx, group)
			if err != nil {
				return res, err
			}
			for _, w := range rows {
				tables = append(tables, table{l, w})
			}
		}
		res.tables = append(res.tables, tables...)
		for round := range r.o.rounds {
			for _, t := range tables {
				if err := r.measureRow(ctx, round, t, res); err != nil {
					return res, err
				}
			}
		}
	}
	return res, nil
}

func (r *rig) measureRow(ctx context.Context, round int, t table, res *results) error {
	fmt.Fprintf(os.Stderr, "%s, round %d of %d: %s\n", t.link.name, round+1, r.o.rounds, t.row.title)
	for i := range t.row.steps {
		s := t.row.steps[(i+round)%len(t.row.steps)]
		if s.once && round > 0 || r.o.steps != nil && !r.o.steps.MatchString(s.name) {
			continue
		}
		limit := r.o.limit
		if s.once {
			limit = min(limit, onceLimit)
		}
		k := key{t.link.name, t.row.title, s.name}
		limited, cancel := context.WithTimeout(ctx, limit)
		m, err := s.run(limited)
		late := limited.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && late && s.once {
			fmt.Fprintf(os.Stderr, "%s, %s, %s: broken off after %s\n", t.link.name, t.row.title, s.name, limit)
			res.late[k] = limit
			continue
		}
		if err != nil {
			err = fmt.Errorf("%s, %s, %s: %w", t.link.name, t.row.title, s.name, err)
			fmt.Fprintln(os.Stderr, err)
			res.errs = append(res.errs, err)
			continue
		}
		res.samples[k] = append(res.samples[k], m)
		if r.o.verbose {
			fmt.Fprintf(os.Stderr, "  %-14s %8.1f %s  %.3f s  cpu %.2f reader %.2f store %.2f  %v\n", s.name, t.row.value(m), t.row.unit,
				m.Seconds, m.CPU, m.Reader, m.StoreCPU, m.Counts.Requests)
		}
	}
	return nil
}

// measureRaw measures work through a fresh bare client.
func (r *rig) measureRaw(connections int, use func(*raw) error) (s sample, err error) {
	c, err := newRaw(r.endpoint(), connections)
	if err != nil {
		return s, err
	}
	defer c.close()
	if err := r.meter(&s, func() error { return use(c) }); err != nil {
		return s, err
	}
	s.CPU, s.Reader = s.Reader, 0
	return s, nil
}

// work is what is done in a fresh mount. Only use is measured; before and after may be nil.
type work struct {
	args               []string // of the mount command
	before, use, after func(*mount) error
}

func (r *rig) measureMount(ctx context.Context, by mounter, w work) (s sample, err error) {
	m, err := r.newMount(ctx, by, w.args...)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, m.unmount()) }()
	if w.before != nil {
		if err := w.before(m); err != nil {
			return s, fmt.Errorf("%w\n%s", err, m.logged())
		}
	}
	cpu, err := cpuOf(m.pid())
	if err != nil {
		return s, err
	}
	peak := watchRSS(m.pid())
	err = r.meter(&s, func() error { return w.use(m) })
	s.PeakRSS = peak()
	if err != nil {
		return s, fmt.Errorf("%w\n%s", err, m.logged())
	}
	after, err := cpuOf(m.pid())
	s.CPU = after - cpu
	if err == nil && w.after != nil {
		err = w.after(m)
	}
	return s, err
}

// meter measures the time of f, what this process and the store used in it, and the requests.
func (r *rig) meter(s *sample, f func() error) error {
	if err := r.reset(); err != nil {
		return err
	}
	storeCPU, err := r.serverCPU()
	if err != nil {
		return err
	}
	self, began := selfCPU(), time.Now()
	if err := f(); err != nil {
		return err
	}
	s.Seconds, s.Reader = time.Since(began).Seconds(), selfCPU()-self
	if s.StoreCPU, err = r.serverCPU(); err != nil {
		return err
	}
	s.StoreCPU -= storeCPU
	s.Counts, err = r.counts()
	return err
}

// megabytes is a value: what the program asked for, in MB/s.
func megabytes(s sample) float64 { return float64(s.Bytes) / 1e6 / s.Seconds }

// perSecond is a value: operations a second.
func perSecond(s sample) float64 { return float64(s.Ops) / s.Seconds }

func milliseconds(s sample) float64 { return s.Seconds * 1000 }
