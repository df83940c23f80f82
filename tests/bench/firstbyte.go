package main

import (
	"context"
	"errors"
	"os"
	"time"
)

const (
	firstByPath  = "until the first byte of a cold file, by its path"
	firstAfterLs = "until the first byte of a cold file, after an ls"
)

// firstbyte: how many round trips a program waits for the first byte of a file more than the bare client, which needs
// one GET.
func (r *rig) firstbyte() []row {
	var rows []row
	for _, title := range []string{firstByPath, firstAfterLs} {
		w := row{title: title, unit: "ms", value: milliseconds, lower: true,
			notes: []string{"raw: one GET of 8 MiB by a client without a connection; the mount has answered before, and nothing was asked of it"}}
		w.steps = append(w.steps, step{name: rawName, run: r.rawFirstByte})
		var before func(*mount) error
		if title == firstAfterLs {
			before = func(m *mount) error {
				_, err := os.ReadDir(m.dir)
				return err
			}
		}
		for _, by := range r.mounters {
			w.steps = append(w.steps, step{name: by.name(), base: rawName, run: func(ctx context.Context) (sample, error) {
				var d time.Duration
				s, err := r.measureMount(ctx, by, work{before: before, use: func(m *mount) (err error) {
					d, err = firstByte(m.path(r.big.key))
					return err
				}})
				s.Seconds, s.Ops = d.Seconds(), 1
				return s, err
			}})
		}
		rows = append(rows, w)
	}
	return rows
}

func firstByte(path string) (d time.Duration, err error) {
	began := time.Now()
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Read(make([]byte, 1))
	return time.Since(began), err
}

func (r *rig) rawFirstByte(ctx context.Context) (sample, error) {
	var d time.Duration
	s, err := r.measureRaw(1, func(c *raw) error {
		began := time.Now()
		body, err := c.open(ctx, piece{r.big, 0, rangeBytes})
		if err != nil {
			return err
		}
		_, err = body.Read(make([]byte, 1))
		d = time.Since(began)
		return errors.Join(err, body.Close())
	})
	s.Seconds, s.Ops = d.Seconds(), 1
	return s, err
}
