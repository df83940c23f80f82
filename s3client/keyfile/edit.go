package keyfile

import (
	"fmt"
	"strings"
)

// Keys are what a profile holds for a store.
type Keys struct{ Access, Secret string }

const (
	accessName  = "aws_access_key_id"
	secretName  = "aws_secret_access_key" // #nosec G101 -- the name of a line, not what stands in it
	sessionName = "aws_session_token"     // would make the store look for a session that new keys do not have
)

// check refuses what would not be read as it was written.
func (k Keys) check() error {
	for _, v := range []string{k.Access, k.Secret} {
		if v == "" || strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("\"'`#;\\", c) }) {
			return fmt.Errorf("an access key or its secret is empty, or has characters that no credentials file can hold")
		}
	}
	return nil
}

// checkProfile refuses what is no name of a section.
func checkProfile(name string) error {
	if name == "" || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f || strings.ContainsRune("[]#;\"'`\\", c) }) {
		return fmt.Errorf("%q cannot be the name of a profile", name)
	}
	return nil
}

// section is the name in a line that begins a section.
func section(line string) (name string, ok bool) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "[") {
		return "", false
	}
	name, _, ok = strings.Cut(line[1:], "]")
	return strings.TrimSpace(name), ok
}

// setting takes a line apart. What is indented belongs to the line above it.
func setting(line string) (name, value string, ok bool) {
	if line == "" || strings.ContainsRune(" \t#;[", rune(line[0])) {
		return "", "", false
	}
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		return "", "", false
	}
	return strings.ToLower(strings.TrimSpace(line[:i])), strings.TrimSpace(line[i+1:]), true
}

// Profile is one that holds an access key.
type Profile struct{ Name, Access string }

// profiles are those in a text that hold keys. Of a name that comes twice the last access key counts.
func profiles(text string) []Profile {
	var all []Profile
	in := "default" // what stands before the first section
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if name, ok := section(line); ok {
			in = name
			continue
		}
		if name, value, ok := setting(line); ok && name == accessName && value != "" {
			all = append(all, Profile{in, value})
		}
	}
	return all
}

// put gives a profile keys. The lines of its old ones are replaced where they stand, or the new ones come first in its
// section, or the section at the end.
func put(text, profile string, k Keys) string {
	eol := "\n"
	if strings.Contains(text, "\r\n") {
		eol = "\r\n"
	}
	fresh := accessName + " = " + k.Access + eol + secretName + " = " + k.Secret + eol
	var b strings.Builder
	inside, done := false, false
	for line := range strings.Lines(text) {
		bare := strings.TrimRight(line, "\r\n")
		if name, ok := section(bare); ok {
			inside = name == profile
			b.WriteString(ended(line, eol))
			if inside && !done {
				b.WriteString(fresh)
				done = true
			}
			continue
		}
		if name, _, ok := setting(bare); inside && ok && (name == accessName || name == secretName || name == sessionName) {
			continue
		}
		b.WriteString(ended(line, eol))
	}
	if !done {
		if b.Len() > 0 {
			b.WriteString(eol)
		}
		b.WriteString("[" + profile + "]" + eol + fresh)
	}
	return b.String()
}

// ended gives the last line of a file the end that it may lack.
func ended(line, eol string) string {
	if strings.HasSuffix(line, "\n") {
		return line
	}
	return line + eol
}
