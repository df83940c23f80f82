package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ownVariables are read besides those of the options.
var ownVariables = []string{"PAILFS_RUN_DIR", readyFD}

// foreignVariables are not meant for this program, whatever they are called: those of its own tests, which all begin with
// PAILFS_TEST_, and those that Docker and Kubernetes make of a service whose name begins with pailfs.
var foreignVariables = regexp.MustCompile(`^PAILFS_TEST_|_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)`)

// unknownVariables says of variables that look like options and are none, most likely by a slip, what they were taken for.
func unknownVariables(environ []string) []string {
	known := slices.Clone(ownVariables)
	for _, o := range options {
		known = append(known, o.env())
	}
	var notes []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "PAILFS_") || slices.Contains(known, name) || foreignVariables.MatchString(name) {
			continue
		}
		note := fmt.Sprintf("the variable %s stands for no option and does nothing", shown(name))
		if near := nearest(name, known); near != "" {
			note += fmt.Sprintf("; did you mean %s?", near)
		}
		notes = append(notes, note)
	}
	slices.Sort(notes)
	return notes
}
