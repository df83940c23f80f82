package posix

import "slices"

// failure is a reason for which rules are known to fail.
type failure struct {
	why string
	// gets is outcome.Got: the errno, "OK" where an error was to come, "wrong" for another result.
	gets string
	// instead says what happens in place of a "wrong".
	instead string
	// mend: it is not meant to stay so.
	mend bool
	// by is whom it concerns, where it is not everybody.
	by    who
	rules []string
}

// known is what fails, and is published in FAILS.md.
func known() []failure {
	return []failure{
		{
			why:  "An object has one key: there are no hard links.",
			gets: "EPERM", rules: []string{"link: a second name of a file"},
		},
		{
			why:  "An object has a key from the beginning. Programs that ask for O_TMPFILE fall back to a temporary name.",
			gets: "EOPNOTSUPP", rules: []string{"open flags: O_TMPFILE makes a file without a name"},
		},
		{
			why:  "A store cannot exchange two keys in one step; two renames over a third name do it.",
			gets: "EINVAL", rules: []string{"rename: RENAME_EXCHANGE of two files"},
		},
		{
			why:  "A key is UTF-8.",
			gets: "EINVAL", rules: []string{"names: bytes that are no UTF-8"},
		},
		{
			why:  "Reading never changes atime: it would cost a copy of the object. The mount behaves as one with noatime.",
			gets: "wrong", instead: "atime stays",
			rules: []string{
				"timestamps: read sets atime, unless the mount says noatime",
				"timestamps: readdir sets atime, unless the mount says noatime",
			},
		},
		{
			why:  "A change that changes nothing costs no request, and so leaves no time behind.",
			gets: "wrong", instead: "ctime stays",
			rules: []string{
				"timestamps: chown to whom it belongs already sets ctime and leaves mtime",
				"timestamps: chmod to the mode it has already sets ctime and leaves mtime",
			},
		},
		{
			why:  "A rename moves an object with its attributes as they are; POSIX leaves ctime to the file system here.",
			gets: "wrong", instead: "ctime stays",
			rules: []string{"timestamps: rename sets ctime of what is renamed, as Linux file systems do"},
		},
		{
			why:  "A file without a name answers with what was known of it last.",
			gets: "wrong", instead: "ctime stays",
			rules: []string{"timestamps: unlink sets ctime of what is still open"},
		},
		{
			why:  "Every write takes setuid away, root's as well: go-fuse does not hand on whether the kernel asks for it. POSIX allows it.",
			gets: "wrong", instead: "setuid is gone",
			rules: []string{"chmod: root's write leaves setuid"},
		},
		{
			why:  "The mount point is the bucket, which has no attributes of its own: --uid, --gid and --dir-mode are for that.",
			gets: "EPERM", rules: []string{"chmod: sets the permissions of the mount point", "chown: of the mount point"},
		},
		{
			why:  "Nor has the bucket times. Programs that copy trees set them last and would report a failure, so there is none.",
			gets: "wrong", instead: "the times stay, without an error", rules: []string{"utimensat: of the mount point"},
		},
	}
}

// knownFailure is why a rule fails for a user.
func knownFailure(name string, w who) (failure, bool) {
	for _, k := range known() {
		if slices.Contains(k.rules, name) && (k.by == anyone || k.by == w) {
			return k, true
		}
	}
	return failure{}, false
}

// libraryFailure is a test of go-fuse's that is known not to pass here.
type libraryFailure struct {
	result string // "FAIL" or "SKIP"
	says   string // part of its output
	why    string
}

// libraryKnown is which of go-fuse's tests do not pass.
var libraryKnown = map[string]libraryFailure{
	"FcntlFlockLocksFile": {result: "FAIL", says: "FcntlFlock returned <nil>, expected EAGAIN",
		why: "go-fuse leaves this one out of its own run: it expects that a process's fcntl lock stands in the way of the same process, which it does on no file system."},
	"Link":             {result: "FAIL", says: "operation not permitted", why: "EPERM: an object has one key, there are no hard links."},
	"LinkUnlinkRename": {result: "FAIL", says: "operation not permitted", why: "EPERM: an object has one key, there are no hard links."},
	"Tmpfile":          {result: "SKIP", says: "operation not supported", why: "EOPNOTSUPP: an object has a key from the beginning, there is no O_TMPFILE."},
	"XAttrLarge": {result: "SKIP", says: "does not support large xattrs",
		why: "ENOSPC: a value of 8 KiB is more than a store keeps as an object's metadata."},
}
