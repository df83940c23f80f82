package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"pailfs/s3client"
)

// The areas of findings, in the order in which they are looked at.
const (
	areaHost   = "host"
	areaStore  = "store"
	areaBucket = "bucket"
)

// The states of findings.
const (
	isOK       = "ok"
	isWarning  = "warning"
	isFailed   = "failed"
	notChecked = "not checked"
)

// finding is what one check has found.
type finding struct {
	Area  string   `json:"area"`
	Check string   `json:"check"`
	State string   `json:"state"`          // ok, warning, failed or not checked
	Says  string   `json:"says"`           // what was found, or why it was not looked at
	Do    string   `json:"do,omitempty"`   // what to do about it
	More  []string `json:"more,omitempty"` // lines of detail
}

// report is `pailfs doctor --json`.
type report struct {
	Version      build         `json:"version"`
	Time         time.Time     `json:"time"`
	Target       string        `json:"target,omitempty"` // BUCKET[/PREFIX]
	Findings     []finding     `json:"findings"`
	Capabilities *capabilities `json:"capabilities,omitempty"`
	OK           int           `json:"ok"`
	Warnings     int           `json:"warnings"`
	Failed       int           `json:"failed"`
	NotChecked   int           `json:"not_checked"`
}

// capabilities are what is known of the store.
type capabilities struct {
	s3client.Profile
	// What --write has tried; nil: not tried.
	ConditionalCopy     *bool `json:"conditional_copy,omitempty"`     // a copy can be pinned to its source's ETag
	ConditionalComplete *bool `json:"conditional_complete,omitempty"` // an upload can be completed only where no object is
}

// add takes a finding and prints it.
func (d *doctor) add(f finding) {
	d.count(f)
	var b strings.Builder
	f.print(&b)
	d.show(f.Area, b.String())
}

func (d *doctor) count(f finding) {
	r := &d.report
	r.Findings = append(r.Findings, f)
	switch f.State {
	case isOK:
		r.OK++
	case isWarning:
		r.Warnings++
	case isFailed:
		r.Failed++
	default:
		r.NotChecked++
	}
}

// show prints lines of an area, below its name.
func (d *doctor) show(area, lines string) {
	if d.json {
		return
	}
	if area != d.area {
		head := area + "\n"
		if d.area != "" {
			head = "\n" + head
		}
		lines, d.area = head+lines, area
	}
	if _, err := io.WriteString(d.std.out, lines); err != nil && d.sick == nil {
		d.sick = err
	}
}

// print writes a finding as people read it.
func (f finding) print(b *strings.Builder) {
	const indent = 32 // of what is said
	fmt.Fprintf(b, "  %-11s  %-16s  %s\n", f.State, f.Check, oneLine(f.Says))
	for _, line := range f.More {
		fmt.Fprintf(b, "%*s  %s\n", indent, "", oneLine(line))
	}
	if f.Do != "" {
		fmt.Fprintf(b, "%*sdo: %s\n", indent, "", oneLine(f.Do))
	}
}

// found adds what is as it should be.
func (d *doctor) found(area, check, format string, args ...any) {
	d.add(finding{Area: area, Check: check, State: isOK, Says: fmt.Sprintf(format, args...)})
}

// warn adds what works and deserves a look.
func (d *doctor) warn(area, check, do, format string, args ...any) {
	d.add(finding{Area: area, Check: check, State: isWarning, Says: fmt.Sprintf(format, args...), Do: do})
}

// fail adds what does not work.
func (d *doctor) fail(area, check, do, format string, args ...any) {
	d.add(finding{Area: area, Check: check, State: isFailed, Says: fmt.Sprintf(format, args...), Do: do})
}

// skip adds what was not looked at, for one reason: a line for all of them.
func (d *doctor) skip(why, area string, checks ...string) {
	for _, check := range checks {
		d.count(finding{Area: area, Check: check, State: notChecked, Says: why})
	}
	var b strings.Builder
	finding{State: notChecked, Check: strings.Join(checks, ", "), Says: why}.print(&b)
	d.show(area, b.String())
}

// failBy adds a failure in the words of an error that commands have for it.
func (d *doctor) failBy(area, check string, f *failure) {
	_, why, said := strings.Cut(f.message, ": ") // "cannot check this: why"
	if !said || !strings.HasPrefix(f.message, "cannot ") {
		why = f.message
	}
	d.fail(area, check, f.hint, "%s", why)
}

// refused adds an error of the store. When it would be the same for whatever is asked next, nothing more is asked.
func (d *doctor) refused(area, check string, about subject, err error) {
	d.block(about, err)
	f := about.storeFailure(err)
	if f.code == exitInterrupted {
		d.skip(d.blocked, area, check)
		return
	}
	if f.hint == "" {
		f.hint = "ask the operator of the store, with these words"
	}
	d.failBy(area, check, f)
}

// block finds out whether the store is asked in vain from now on.
func (d *doctor) block(about subject, err error) {
	var e *s3client.Error
	f := about.storeFailure(err)
	switch {
	case f.code == exitInterrupted:
		d.blocked = "interrupted"
	case f.code == exitUnreachable:
		d.blocked = "the store does not answer"
	case errors.As(err, &e) && about.refusal(e) != nil:
		d.blocked = "the store refuses these credentials"
	}
}
