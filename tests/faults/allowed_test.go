package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pailfs/s3client"
	"pailfs/tests/lagproxy"
)

// wanted is what the store must have when the operation has succeeded.
func (c *cell) wanted() state {
	s := c.op.fixture()
	if c.op.after != nil && !c.op.bucket {
		c.op.after(s)
	}
	return s
}

// allowed are the states that the store may be in.
func (c *cell) allowed() []state {
	all := []state{c.wanted()}
	if c.outcome == "ok" && !c.lied() || c.op.keeps && c.taken {
		return all
	}
	before := c.op.fixture()
	all = append(all, before)
	if c.op.also != nil {
		s := c.op.fixture()
		c.op.also(s)
		all = append(all, s)
	}
	return all
}

// lied: a store that says that a key is not there is taken at its word by who wants to delete it, and one that says that it is
// another version by what changes attributes in the background: that alone names one.
func (c *cell) lied() bool {
	attributes := slices.Contains([]string{"chmod", "chown", "utimens", "setxattr"}, c.op.name)
	if c.fault.class == "404" || c.fault.class == "412" && c.w.durability == "journal" && attributes {
		return true
	}
	return slices.ContainsFunc(c.fault.many, func(f lagproxy.Fault) bool { return f.Status == 404 || f.Status == 412 })
}

// stored sees that the store has what it should, and the mount shows it.
func (c *cell) stored() {
	var now state
	not := eventually(10*time.Second, func() string {
		var err error
		if now, err = c.w.inStore(c.w.bucket, c.prefix); err != nil {
			return err.Error()
		}
		for _, s := range c.allowed() {
			if s.is(now) || c.keptBeside(s, now) || c.halfWay(now) {
				return ""
			}
		}
		return fmt.Sprintf("it was %s, and the store has %v, not %v", c.outcome, now, c.allowed())
	})
	c.problemOf("the store", not)
	if c.op.bucket {
		c.bucketStored()
	}
	// Who was told that a name is gone shows none, as long as that counts.
	if not == "" && !c.lied() {
		c.problemOf("the mount", c.shows(now, 8*time.Second))
	}
}

// halfWay: of a directory's rename that has failed each file has the old name, the new one, or both.
func (c *cell) halfWay(now state) bool {
	if c.op.name != "rename directory" || c.outcome == "ok" && !c.lied() {
		return false
	}
	all := c.op.fixture()
	halfMoved(all)
	for key, o := range now {
		if want, there := all[key]; !there || want.content != o.content {
			return false
		}
	}
	for _, name := range []string{"a", "b"} {
		_, old := now["sub/"+name]
		_, moved := now["other/"+name]
		if !old && !moved {
			return false
		}
	}
	return true
}

// keptBeside: a store that says that the version under somebody's changes is gone has them kept as a conflict.
func (c *cell) keptBeside(want, now state) bool {
	switch c.fault.class {
	case "404", "412", "416", "bit", random:
	default:
		return false
	}
	plain := maps.Clone(now)
	kept := 0
	for key, o := range now {
		if base, _, found := strings.Cut(key, ".conflict-"); found {
			delete(plain, key)
			if o.content != want[base].content {
				return false
			}
			kept++
		}
	}
	return kept > 0 && c.op.fixture().is(plain)
}

func (c *cell) bucketStored() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := c.w.s.Client.HeadBucket(ctx, c.bucketName())
	if err != nil && !errors.Is(err, s3client.NotFound) {
		c.problem("the store: %v", err)
	}
	if there := err == nil; c.outcome == "ok" && there != (c.op.name == "mkdir bucket") {
		c.problem("it was ok, and the bucket is there: %v", there)
	}
}

// shows says how the mount's view differs from a state, when it still does after a while.
func (c *cell) shows(s state, limit time.Duration) string {
	return eventually(limit, func() string {
		got, err := view(c.dir)
		if err != nil {
			return err.Error()
		}
		return differ(got, s.shown())
	})
}
