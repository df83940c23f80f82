package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/minio/minio-go/v7"

	"pailfs/tests/lagproxy"
)

// The four measurements of a round.
const (
	rawRead    = "raw read"
	pailfsRead = "pailfs read"
	rawWrite   = "raw write"
	pailWrite  = "pailfs write"
)

// sample is one measurement.
type sample struct {
	seconds float64
	usage   usage // raw: cpu alone
	counts  lagproxy.Counts
}

type results map[string][]sample

func newResults() results { return results{} }

// round measures everything once. The order turns with the rounds, so that none always comes after the same other.
func (r *rig) round(ctx context.Context, n int, res results) error {
	steps := []struct {
		name string
		run  func(context.Context, string) (sample, error)
	}{{rawRead, r.rawRead}, {pailfsRead, r.pailfsRead}, {rawWrite, r.rawWrite}, {pailWrite, r.pailfsWrite}}
	for i := range steps {
		s := steps[(i+n)%len(steps)]
		if err := ctx.Err(); err != nil {
			return err
		}
		key := fmt.Sprintf("written-%d", n)
		m, err := s.run(ctx, key)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		res[s.name] = append(res[s.name], m)
		if r.o.verbose {
			fmt.Fprintf(os.Stderr, "  %-12s %6.0f MB/s  %v\n", s.name, r.speed(m), m.counts.Requests)
		}
	}
	return nil
}

// speed is a measurement in MB/s.
func (r *rig) speed(s sample) float64 { return float64(r.o.sizeMiB) * mib / 1e6 / s.seconds }

func (r *rig) rawRead(ctx context.Context, _ string) (sample, error) {
	return r.measureRaw(func(c *raw) (time.Duration, error) { return c.read(ctx, coldKey, r.content) })
}

func (r *rig) rawWrite(ctx context.Context, key string) (sample, error) {
	s, err := r.measureRaw(func(c *raw) (time.Duration, error) { return c.write(ctx, key, r.content) })
	if err != nil {
		return s, err
	}
	return s, r.verify(ctx, key)
}

func (r *rig) measureRaw(run func(*raw) (time.Duration, error)) (s sample, err error) {
	c, err := newRaw(r.endpoint())
	if err != nil {
		return s, err
	}
	defer c.close()
	if err := r.reset(); err != nil {
		return s, err
	}
	before := selfCPU()
	d, err := run(c)
	if err != nil {
		return s, err
	}
	s.seconds, s.usage.cpu = d.Seconds(), selfCPU()-before
	s.counts, err = r.counts()
	return s, err
}

func (r *rig) pailfsRead(ctx context.Context, _ string) (sample, error) {
	return r.measureMount(ctx, func(m *mount) (time.Duration, error) { return m.read(coldKey, r.content) })
}

func (r *rig) pailfsWrite(ctx context.Context, key string) (sample, error) {
	s, err := r.measureMount(ctx, func(m *mount) (time.Duration, error) { return m.write(key, r.content) })
	if err != nil {
		return s, err
	}
	return s, r.verify(ctx, key)
}

func (r *rig) measureMount(ctx context.Context, run func(*mount) (time.Duration, error)) (s sample, err error) {
	m, err := r.newMount(ctx)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, m.unmount()) }()
	if err := r.reset(); err != nil {
		return s, err
	}
	before, err := m.usage()
	if err != nil {
		return s, err
	}
	d, err := run(m)
	if err != nil {
		return s, fmt.Errorf("%w\n%s", err, m.logged())
	}
	if s.usage, err = m.usage(); err != nil {
		return s, err
	}
	s.seconds = d.Seconds()
	s.usage.cpu -= before.cpu
	s.counts, err = r.counts()
	return s, err
}

// verify compares what the store has with what was written, past the proxy, and deletes it.
func (r *rig) verify(ctx context.Context, key string) error {
	st, err := r.direct.core.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return err
	}
	if st.Size != int64(len(r.content.bytes)) {
		return fmt.Errorf("the object has %d bytes, written were %d", st.Size, len(r.content.bytes))
	}
	if _, err := r.direct.read(ctx, key, r.content); err != nil {
		return err
	}
	return r.direct.core.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{})
}
