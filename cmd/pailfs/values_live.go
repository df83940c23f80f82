package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"pailfs/s3client"
)

// bandwidth is bytes a second each way; 0 is no limit.
type bandwidth struct{ Up, Down int64 }

// String is as it may be written.
func (b bandwidth) String() string {
	if b.Up == b.Down {
		return strconv.FormatInt(b.Up, 10)
	}
	return fmt.Sprintf("%d:%d", b.Up, b.Down)
}

// words is for people.
func (b bandwidth) words() string {
	one := func(n int64) string {
		if n == 0 {
			return "no limit"
		}
		return formatSize(n) + "/s"
	}
	if b.Up == b.Down {
		return one(b.Up)
	}
	return one(b.Up) + " to the store, " + one(b.Down) + " from it"
}

// parseBandwidth reads 10MiB for both ways, 1MiB:10MiB for the way to the store and the one from it.
func parseBandwidth(s *settings, v string) error {
	up, down, two := strings.Cut(v, ":")
	if !two {
		down = up
	}
	for _, way := range []struct {
		text string
		n    *int64
	}{{up, &s.Bandwidth.Up}, {down, &s.Bandwidth.Down}} {
		n, err := parseSize(way.text)
		if err != nil {
			return err
		}
		if n > 0 && n < s3client.LeastBandwidth {
			return fmt.Errorf("%s a second is less than %s", way.text, formatSize(s3client.LeastBandwidth))
		}
		*way.n = n
	}
	return nil
}

// unixAddress begins an address that is a socket's path.
const unixAddress = "unix:"

// parseAddress reads HOST:PORT, :PORT or PORT (the loopback's), or unix:PATH.
func parseAddress(field func(*settings) *string, checks ...func(host string) error) setter {
	return func(s *settings, v string) error {
		if v == "" {
			*field(s) = ""
			return nil
		}
		if name, ok := strings.CutPrefix(v, unixAddress); ok {
			full, err := filepath.Abs(name)
			if name == "" || err != nil {
				return fmt.Errorf("%q is no path of a socket", name)
			}
			*field(s) = unixAddress + full
			return nil
		}
		if _, err := strconv.ParseUint(v, 10, 16); err == nil {
			v = ":" + v
		}
		host, port, err := net.SplitHostPort(v)
		if err != nil {
			return fmt.Errorf("%q is no address: HOST:PORT, PORT or unix:PATH", v)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("%q is no port", port)
		}
		if host == "" {
			host = "127.0.0.1"
		}
		for _, check := range checks {
			if err := check(host); err != nil {
				return err
			}
		}
		*field(s) = net.JoinHostPort(host, port)
		return nil
	}
}

// onLoopback refuses what others than this host's users reach.
func onLoopback(host string) error {
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("is not on the loopback: others would reach it; take unix:PATH, or a tunnel")
}
