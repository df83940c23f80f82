package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"os/user"
	gopath "path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The functions here make the set functions of the option table: each parses and checks one kind of value.

type setter = func(*settings, string) error

// fixed is a default that differs from what the documents show.
func fixed(value string) func() (string, error) {
	return func() (string, error) { return value, nil }
}

func text(field func(*settings) *string) setter {
	return func(s *settings, v string) error {
		if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fmt.Errorf("%q has blanks or control characters", v)
		}
		*field(s) = v
		return nil
	}
}

// path makes a file name absolute: a mount in the background leaves the working directory.
func path(field func(*settings) *string) setter {
	return func(s *settings, v string) error {
		if v == "" {
			*field(s) = ""
			return nil
		}
		abs, err := filepath.Abs(v)
		if err != nil {
			return err
		}
		*field(s) = abs
		return nil
	}
}

// either is words as a sentence has them: a, b or c.
func either(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func oneOf(field func(*settings) *string, words ...string) setter {
	return func(s *settings, v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("%q is none of %s", v, strings.Join(words, ", "))
		}
		*field(s) = v
		return nil
	}
}

func boolean(field func(*settings) *bool) setter {
	return func(s *settings, v string) error {
		on, err := parseBoolean(v)
		if err != nil {
			return err
		}
		*field(s) = on
		return nil
	}
}

func parseBoolean(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "1", "true", "yes", "on":
		return true, nil
	case "0", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", v)
}

func size(field func(*settings) *int64, least, most int64) setter {
	return func(s *settings, v string) error {
		n, err := parseSize(v)
		if err != nil {
			return err
		}
		if n < least || n > most {
			return fmt.Errorf("%s is not between %s and %s", v, formatSize(least), formatSize(most))
		}
		*field(s) = n
		return nil
	}
}

var sizeUnits = []struct {
	suffix string
	bytes  float64
}{ // the longest first: "MiB" ends in "B" as well
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}, {"b", 1},
}

// parseSize reads a number of bytes: 8388608, 8MiB, 8M (the same), 8MB (8 million), 1.5GiB.
func parseSize(v string) (int64, error) {
	number, unit := strings.ToLower(strings.TrimSpace(v)), 1.0
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	if number == "" || strings.ContainsFunc(number, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }) {
		return 0, fmt.Errorf("%q is no size: a number of bytes, or one with KiB, MiB, GiB", v)
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n*unit >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size: a number of bytes, or one with KiB, MiB, GiB", v)
	}
	return int64(n * unit), nil
}

// formatSize writes a number of bytes for people: 512 B, 8 MiB, 1.5 GiB.
func formatSize(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/(1<<10), []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for f >= 1<<10 && len(units) > 1 {
		f, units = f/(1<<10), units[1:]
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0") + " " + units[0]
}

// duration reads 90s, 2m, 1h30m; a number alone is seconds.
func duration(field func(*settings) *time.Duration, least, most time.Duration) setter {
	return func(s *settings, v string) error {
		d, err := parseDuration(v)
		if err != nil {
			return err
		}
		if d < least || d > most {
			return fmt.Errorf("%s is not between %v and %v", v, least, most)
		}
		*field(s) = d
		return nil
	}
}

// forever is longer than any mount lasts.
const forever = 100 * 365 * 24 * time.Hour

// orForever also takes the word.
func orForever(set setter) setter {
	return func(s *settings, v string) error {
		if v == "forever" {
			return set(s, forever.String())
		}
		return set(s, v)
	}
}

// leastCacheSize: a disk cache of less would hold a few files.
const leastCacheSize = 64 << 20

// cacheSize is a size, 0 for none, -1 where nobody gave one.
func cacheSize(s *settings, v string) error {
	switch v {
	case "0":
		s.CacheSize = 0
		return nil
	case "-1":
		s.CacheSize = -1
		return nil
	}
	return size(func(s *settings) *int64 { return &s.CacheSize }, leastCacheSize, 1<<60)(s, v)
}

func parseDuration(v string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(v, 64); err == nil && math.Abs(n) < 1e9 {
		return time.Duration(n * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, fmt.Errorf("%q is no time: 90s, 2m, 1h30m, or a number of seconds", v)
	}
	return d, nil
}

func count(field func(*settings) *int, least, most int) setter {
	return func(s *settings, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q is no number between %d and %d", v, least, most)
		}
		*field(s) = n
		return nil
	}
}

func rate(field func(*settings) *float64) setter {
	return func(s *settings, v string) error {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
			return fmt.Errorf("%q is no number of requests a second", v)
		}
		*field(s) = n
		return nil
	}
}

// octal reads permission bits: 644, 0644, 0o644.
func octal(field func(*settings) *uint32) setter {
	return func(s *settings, v string) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(v, "0o"), 8, 32)
		if err != nil || n > 0o7777 {
			return fmt.Errorf("%q is no octal mode such as 0644", v)
		}
		*field(s) = uint32(n)
		return nil
	}
}

func userID(field func(*settings) *uint32) setter {
	return id(field, "user", func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

func groupID(field func(*settings) *uint32) setter {
	return id(field, "group", func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

// id reads a number or looks a name up. The largest number means "nobody given" to chown(2) and is no id.
func id(field func(*settings) *uint32, what string, lookup func(string) (string, error)) setter {
	return func(s *settings, v string) error {
		n, err := strconv.ParseUint(v, 10, 32)
		if errors.Is(err, strconv.ErrSyntax) {
			number, lookupErr := lookup(v)
			if lookupErr != nil {
				return fmt.Errorf("no %s %q on this host", what, v)
			}
			n, err = strconv.ParseUint(number, 10, 32)
		}
		if err != nil || n == math.MaxUint32 {
			return fmt.Errorf("%q is no %s", v, what)
		}
		*field(s) = uint32(n)
		return nil
	}
}

func ownUID() (string, error) { return strconv.Itoa(os.Getuid()), nil }
func ownGID() (string, error) { return strconv.Itoa(os.Getgid()), nil }

func parseAttributes(s *settings, v string) error {
	switch v {
	case "full", "basic":
		s.FullAttributes = v == "full"
		return nil
	}
	return fmt.Errorf("%q is neither full nor basic", v)
}

func parseLevel(s *settings, v string) error {
	switch strings.ToLower(v) {
	case "debug":
		s.LogLevel = slog.LevelDebug
	case "info":
		s.LogLevel = slog.LevelInfo
	case "warn", "warning":
		s.LogLevel = slog.LevelWarn
	case "error":
		s.LogLevel = slog.LevelError
	default:
		return fmt.Errorf("%q is none of debug, info, warn, error", v)
	}
	return nil
}

// parseEndpoint takes https://HOST[:PORT], and HOST[:PORT] as that. User and password in a URL are refused without
// repeating them: an address is shown in logs and process lists.
func parseEndpoint(s *settings, v string) error {
	if v == "" {
		s.Endpoint = ""
		return nil
	}
	if !strings.Contains(v, "://") {
		v = "https://" + v
	}
	u, err := url.Parse(v)
	if err != nil || u.Hostname() == "" {
		return errors.New("is no URL of the form https://HOST[:PORT]")
	}
	switch {
	case u.User != nil:
		return errors.New("has a user or password in it: credentials belong in the environment or a credentials file")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%q is neither http nor https", u.Scheme)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("has a path: it is only https://HOST[:PORT], the bucket is an argument")
	}
	s.Endpoint = u.Scheme + "://" + u.Host
	return nil
}

// parseBucketPattern reads patterns of buckets' names. The separator is in no such name, and no comma: those part the words
// of -o.
func parseBucketPattern(s *settings, v string) error {
	s.BucketPattern = nil
	if v == "" {
		return nil
	}
	for p := range strings.SplitSeq(v, ":") {
		if _, err := gopath.Match(p, "bucket"); err != nil || p == "" || strings.Contains(p, "/") {
			return fmt.Errorf("%q is no pattern: data-*:logs-??", p)
		}
		s.BucketPattern = append(s.BucketPattern, p)
	}
	return nil
}
