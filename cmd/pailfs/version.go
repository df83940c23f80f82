package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version, commit and date are set by the linker: -ldflags "-X main.version=1.2.3 -X main.commit=... -X main.date=...".
var version, commit, date string

// build says what this program was built from.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// buildInfo takes what the linker was told, else what the compiler noted of the checkout.
func buildInfo() build {
	b := build{Version: version, Commit: commit, Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && b.Commit == "":
			b.Commit = s.Value
		case s.Key == "vcs.time" && b.Date == "":
			b.Date = s.Value
		}
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "devel"
	}
	return b
}

func versionCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "what this program is built from",
		Flags:  []cli.Flag{jsonFlag()},
		Action: noArguments(func(c *cli.Context) error { return printVersion(std, c.Bool("json")) }),
	}
}

func printVersion(std stdio, asJSON bool) error {
	b := buildInfo()
	if asJSON {
		return json.NewEncoder(std.out).Encode(b)
	}
	line := "pailfs " + b.Version
	if b.Commit != "" {
		line += fmt.Sprintf(" (%.12s)", b.Commit)
	}
	_, err := fmt.Fprintf(std.out, "%s %s %s\n", line, b.Go, b.Platform)
	return err
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

// noArguments refuses arguments of a command that takes none.
func noArguments(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := checkArguments(doing(c), "", c.Args().Slice(), 0, 0); err != nil {
			return err
		}
		return action(c)
	}
}
