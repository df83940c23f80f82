package tree

import (
	"fmt"
	"path"
	"strings"
)

const (
	// maxName is the longest name in bytes that Linux takes (NAME_MAX).
	maxName = 255
	// maxKey is the longest key in bytes that stores take.
	maxKey = 1024
)

// space says which part of the account is shown; it turns paths into keys and back. Pure.
type space struct {
	bucket string // "" is the whole account
	prefix string // "" or ending in "/"
}

// account says that the root shows buckets.
func (s space) account() bool { return s.bucket == "" }

// locate is the bucket and key (without a slash at its end) of a path. The root of an account has neither.
func (s space) locate(p string) (bucket, key string, err error) {
	if err := checkPath(p); err != nil {
		return "", "", fmt.Errorf("%q: %w", p, err)
	}
	bucket, key = s.place(p)
	if s.account() && bucket != "" && checkBucket(bucket) != nil {
		return "", "", fmt.Errorf("bucket %q: %w", bucket, ErrName)
	}
	if len(key) > maxKey {
		return "", "", fmt.Errorf("key of %d bytes: %w", len(key), ErrNameTooLong)
	}
	return bucket, key, nil
}

// locateFile is locate for what is no directory.
func (s space) locateFile(p string) (bucket, key string, err error) {
	bucket, key, err = s.locate(p)
	if err == nil && !s.top(p) && isBlank(key) {
		return "", "", fmt.Errorf("key %q: %w", key, ErrName)
	}
	return bucket, key, err
}

// place is locate for a path that is one.
func (s space) place(p string) (bucket, key string) {
	if s.account() {
		bucket, key, _ = strings.Cut(p, "/")
		return bucket, key
	}
	return s.bucket, strings.TrimSuffix(s.prefix+p, "/")
}

// pathOf is the path of a key; ok is false for keys outside of what is shown and for those that cannot be paths.
// A slash at the key's end, that of a directory marker, does not count.
func (s space) pathOf(bucket, key string) (p string, ok bool) {
	if s.account() {
		if bucket == "" || checkBucket(bucket) != nil {
			return "", false
		}
		p = strings.TrimSuffix(bucket+"/"+key, "/")
		if key == "/" {
			return "", false
		}
	} else {
		if bucket != s.bucket {
			return "", false
		}
		if key+"/" == s.prefix {
			return "", true
		}
		rest, inside := strings.CutPrefix(key, s.prefix)
		if !inside || rest == "/" {
			return "", false
		}
		p = strings.TrimSuffix(rest, "/")
	}
	return p, checkPath(p) == nil
}

// top says that a path is a bucket of an account, or the root.
func (s space) top(p string) bool { return p == "" || s.account() && !strings.Contains(p, "/") }

// checkPath checks each component of a path. "" is the root.
func checkPath(p string) error {
	if p == "" {
		return nil
	}
	for rest, more := p, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if err := checkName(name); err != nil {
			return err
		}
	}
	return nil
}

// checkName says whether a component of a key can be a file's name.
func checkName(name string) error {
	switch noName(name) {
	case "":
		return nil
	case WhyLong:
		return ErrNameTooLong
	}
	return ErrName
}

// split is a path's directory and last name. The root's are "" and "".
func split(p string) (dir, name string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return "", p
}

// join is the path of a name in a directory.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// under says whether p lies below dir (dir itself does not).
func under(p, dir string) bool {
	return dir == "" && p != "" || strings.HasPrefix(p, dir+"/")
}

// dirKey is the prefix of all keys in a directory, and its marker's key; "" for a bucket's root.
func dirKey(key string) string {
	if key == "" {
		return ""
	}
	return key + "/"
}

// isMarker says whether a key is a directory's marker.
func isMarker(key string) bool { return strings.HasSuffix(key, "/") }

// laterBound answers for a listing that has come to the key last, in key order: every name smaller than the result is
// final, no later page can bring it.
//
// Later keys are greater than last. A later file has its key for a name. A later directory "p/" has the smaller name p,
// and p sorts before last although "p/" sorts behind it exactly when p is last itself or a prefix of it followed by a
// byte below '/' ("a-b" comes before "a/"). So the shortest such p is the bound. A p for which ruledOut is true
// is known to be none (or to have been merged already).
func laterBound(last string, ruledOut func(p string) bool) string {
	for i := 1; i < len(last); i++ {
		if last[i] < '/' && !ruledOut(last[:i]) {
			return last[:i]
		}
	}
	return last
}

// extension is the last name's extension with its dot, lower-case.
func extension(key string) string { return strings.ToLower(path.Ext(key)) }
