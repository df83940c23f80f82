package main

import (
	"fmt"
	"time"
)

// link is a distance to the store.
type link struct {
	name    string
	latency time.Duration // to the first byte of an answer
	rate    int64         // bytes a second of a connection, 0 for no limit
}

// At wan and lan the processors of a small machine are the limit; far is slow enough that it is the distance on any.
var links = []link{{"wan", 20 * time.Millisecond, 80e6}, {"lan", time.Millisecond, 0}, {"far", 40 * time.Millisecond, 20e6}}

func linkNamed(name string) (link, bool) {
	for _, l := range links {
		if l.name == name {
			return l, true
		}
	}
	return link{}, false
}

func linkNames() (names []string) {
	for _, l := range links {
		names = append(names, l.name)
	}
	return names
}

func (l link) String() string {
	if l.rate == 0 {
		return fmt.Sprintf("%s: %v to the first byte", l.name, l.latency)
	}
	return fmt.Sprintf("%s: %v to the first byte, %.0f MB/s a connection", l.name, l.latency, float64(l.rate)/1e6)
}
