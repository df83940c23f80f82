package tree

import (
	"strings"
	"unicode/utf8"

	"pailfs/s3client"
)

// Why is the reason for which a mount does not show a key. "" is none: it is shown.
type Why string

const (
	// WhyEmpty: a component without a character, as in "a//b" and "/a".
	WhyEmpty Why = "empty"
	// WhyDots: a component "." or "..".
	WhyDots Why = "dots"
	// WhyLong: a component of more than 255 bytes.
	WhyLong Why = "long"
	// WhyNUL: a component with a NUL.
	WhyNUL Why = "nul"
	// WhyUTF8: a component that is not UTF-8.
	WhyUTF8 Why = "utf8"
	// WhyKeyLong: a key of more than 1024 bytes.
	WhyKeyLong Why = "key-long"
	// WhyBlank: an object whose whole key is white space: no request for it is made by the S3 library.
	WhyBlank Why = "blank"
	// WhyShadowed: an object "x" with content, where there are keys "x/...".
	WhyShadowed Why = "shadowed"
	// WhyContent: an object "x/" with content. The directory is shown, its object's bytes are not.
	WhyContent Why = "content"
	// whySlash is never a key's: slashes part its components.
	whySlash Why = "slash"
)

// Whys are all reasons for which keys are not shown.
var Whys = []Why{WhyEmpty, WhyDots, WhyLong, WhyNUL, WhyUTF8, WhyKeyLong, WhyBlank, WhyShadowed, WhyContent}

// noName is why a component of a key cannot be a file's name.
func noName(name string) Why {
	switch {
	case len(name) > maxName:
		return WhyLong
	case name == "":
		return WhyEmpty
	case name == ".", name == "..":
		return WhyDots
	case strings.IndexByte(name, 0) >= 0:
		return WhyNUL
	case strings.IndexByte(name, '/') >= 0:
		return whySlash
	case !utf8.ValidString(name):
		return WhyUTF8
	}
	return ""
}

// noPath is why a key or common prefix of a listing is not shown, whose last component is name.
func noPath(name, key string) Why {
	if why := noName(name); why != "" {
		return why
	}
	switch {
	case len(key) > maxKey:
		return WhyKeyLong
	case isBlank(key):
		return WhyBlank
	}
	return ""
}

// isBlank says whether no object with this key can be asked for. A directory may have it: its marker, and all in it, has a slash.
func isBlank(key string) bool { return strings.TrimSpace(key) == "" }

// bytesLost says that an object which a directory takes the place of has something that nobody can reach then.
func bytesLost(o *s3client.Object) bool { return o.Size > 0 }

// BucketShown says whether an account shows a bucket of this name, whatever the pattern.
func BucketShown(name string) bool { return bucketShown(name) }

// Unseen is an object that a mount does not show.
type Unseen struct {
	Key  string
	Size int64
	Why  Why
	// As is what of the key a directory's listing brings: the key itself, or the part of it up to the first component
	// that cannot be a name, with its slash.
	As string
}

// Census says which of a bucket's objects a mount does not show, by the rules of List, object by object. It is told all of
// them in key order and keeps only those whose keys begin the last one's: a key's length bounds them. For one goroutine.
type Census struct {
	prefix string
	// open are objects in whose place a directory may still come, each beginning the next: all keys between "x" and
	// "x/..." begin with "x".
	open []s3client.Object
}

// NewCensus is for a mount of a bucket, or of what lies under a prefix ("" or "a/b/") of it.
func NewCensus(prefix string) *Census { return &Census{prefix: prefix} }

// Next takes the next object and gives those that are now known to be hidden: itself, or earlier ones that a directory is
// in the place of.
func (c *Census) Next(o s3client.Object) []Unseen {
	hidden := c.shadow(o.Key)
	as, why := c.look(&o)
	switch {
	case why != "":
		hidden = append(hidden, Unseen{o.Key, o.Size, why, as})
	case bytesLost(&o) && !isMarker(o.Key):
		c.open = append(c.open, o)
	}
	return hidden
}

// shadow gives the objects that a key makes directories of, and forgets those that none can come for any more.
func (c *Census) shadow(key string) []Unseen {
	var hidden []Unseen
	kept := c.open[:0]
	for _, o := range c.open {
		rest, begins := strings.CutPrefix(key, o.Key)
		switch {
		case !begins:
		case strings.HasPrefix(rest, "/"):
			hidden = append(hidden, Unseen{o.Key, o.Size, WhyShadowed, o.Key})
		default:
			kept = append(kept, o)
		}
	}
	clear(c.open[len(kept):])
	c.open = kept
	return hidden
}

// look goes down to the object as listings do, directory by directory.
func (c *Census) look(o *s3client.Object) (as string, why Why) {
	for at := min(len(c.prefix), len(o.Key)); at < len(o.Key); {
		name, _, below := strings.Cut(o.Key[at:], "/")
		if at += len(name); below {
			at++
		}
		if why := noPath(name, o.Key[:at]); why != "" {
			return o.Key[:at], why
		}
	}
	if isMarker(o.Key) && bytesLost(o) {
		return o.Key, WhyContent
	}
	return "", ""
}
