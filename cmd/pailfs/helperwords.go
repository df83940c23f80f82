package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// What the helpers of mount(8) and umount(8) have in common.

// helperWords reads the command line of a helper, in which options may stand anywhere, several letters behind one dash.
type helperWords struct {
	flag   func(letter rune) bool // takes a letter without a value; false: there is no such letter
	valued string                 // the letters with a value: the rest of their word, or the next one
	value  func(letter rune, value string) error
	wrong  func(format string, args ...any) *failure

	args []string
	show string // "help" or "version"
}

func (r *helperWords) read(words []string) error {
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "--":
			r.args = append(r.args, words[i+1:]...)
			return nil
		case word == "--help", word == "--version":
			r.show = word[2:]
		case strings.HasPrefix(word, "--"):
			return r.wrong("unknown option %s", word)
		case len(word) > 1 && word[0] == '-':
			used, err := r.letters(word[1:], words[i+1:])
			if err != nil {
				return err
			}
			i += used
		default:
			r.args = append(r.args, word)
		}
	}
	return nil
}

// letters reads the letters behind one dash, and says how many of the next words were values of them.
func (r *helperWords) letters(letters string, next []string) (used int, err error) {
	for i, c := range letters {
		switch {
		case c == 'h':
			r.show = "help"
		case c == 'V':
			r.show = "version"
		case strings.ContainsRune(r.valued, c):
			value := letters[i+1:]
			if value == "" {
				if len(next) == 0 {
					return 0, r.wrong("-%c needs a value", c)
				}
				value, used = next[0], 1
			}
			return used, r.value(c, value)
		case !r.flag(c):
			return 0, r.wrong("unknown option -%c", c)
		}
	}
	return 0, nil
}

// runHelper does what the command line of a helper asks for, which was read or was wrong: it shows a text, or works.
func runHelper(name string, std stdio, show string, err error, help func() string, work func() error) int {
	switch {
	case err == nil && show == "help":
		_, err = io.WriteString(std.out, help())
	case err == nil && show == "version":
		_, err = fmt.Fprintf(std.out, "%s (pailfs %s)\n", name, buildInfo().Version)
	case err == nil:
		err = work()
	}
	if err == nil {
		return exitOK
	}
	f := *failureOf(err)
	f.command = "" // the program's name says it
	f.printAs(name, std.err)
	return helperCode(f.code, os.Geteuid())
}
