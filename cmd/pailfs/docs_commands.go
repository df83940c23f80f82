package main

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// plainHelp is the help of a command that takes no option of the table. It is a template: the library fills in the names.
func plainHelp(own []cli.Flag, about string) string {
	var b strings.Builder
	options := ""
	if len(own) > 0 {
		options = " [OPTIONS]"
	}
	b.WriteString("NAME:\n   {{.HelpName}} - {{.Usage}}\n\nUSAGE:\n   {{.HelpName}}" + options + "{{with .ArgsUsage}} {{.}}{{end}}\n\n")
	b.WriteString(about)
	if len(own) == 0 {
		return b.String()
	}
	b.WriteString("\nOPTIONS:\n")
	ownLines(&b, own)
	return b.String()
}

// commandsMarkdown is the table of commands for README.
func commandsMarkdown(w io.Writer, app *cli.App) error {
	var b strings.Builder
	b.WriteString("| Command | What it does |\n|---|---|\n")
	commandRows(&b, app.Name, app.Commands)
	_, err := io.WriteString(w, b.String())
	return err
}

func commandRows(b *strings.Builder, before string, commands []*cli.Command) {
	for _, c := range commands {
		if c.Hidden || c.Name == "help" {
			continue
		}
		name := before + " " + c.Name
		if len(c.Subcommands) > 0 {
			commandRows(b, name, c.Subcommands)
			continue
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", cell(strings.TrimSpace(name+" "+c.ArgsUsage)), cell(c.Usage))
	}
}

// statusMarkdown is the table of the fields of `pailfs status --json` for docs/status.md, from the tags of statusReport.
func statusMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| Field | Type | What it says |\n|---|---|---|\n")
	statusRows(&b, "", reflect.TypeFor[statusReport]())
	_, err := io.WriteString(w, b.String())
	return err
}

func statusRows(b *strings.Builder, before string, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		doc := f.Tag.Get("doc")
		if doc == "" {
			statusRows(b, before+name+".", f.Type.Elem())
			continue
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", before+name, jsonType(f.Type), cell(doc))
	}
}

// jsonType is what JSON makes of a type.
func jsonType(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Kind() == reflect.Slice:
		return "array"
	case t.Kind() == reflect.Struct:
		return "object"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.String:
		return "string"
	}
	return "number"
}
