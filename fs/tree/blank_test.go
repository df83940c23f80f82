package tree

import (
	"testing"
)

// An object whose whole key is blanks cannot be asked for: it is hidden and counted, and none is made. A directory of that name is
// one like others.
func TestBlankKeys(t *testing.T) {
	for _, blank := range []string{" ", "\t \u00a0"} {
		r := newRig(t, Options{Bucket: bkt, Full: true})
		r.object(blank, "x")
		r.object("f", "x")
		r.list("", "f")
		r.missing(blank)
		r.tree.Refresh("")
		r.missing(blank) // found out by itself, without a listing of the directory
		if hidden := r.tree.Hidden(); len(hidden) != 1 || hidden[0] != (Hidden{bkt, blank, "name"}) || r.tree.Stats().HiddenNames != 1 {
			t.Errorf("hidden: %+v", hidden)
		}
		_, err := r.tree.Create(blank, Attr{})
		r.fails(err, ErrName)
		_, err = r.tree.Symlink(r.ctx, blank, "f", Attr{})
		r.fails(err, ErrName)
		_, err = r.tree.Mknod(r.ctx, blank, Attr{Mode: typeFifo | 0o600}, 0)
		r.fails(err, ErrName)
		r.fails(r.tree.Rename(r.ctx, "f", blank, false, nil), ErrName)
		_, _, err = r.tree.LocateFile(blank)
		r.fails(err, ErrName)
		for _, p := range []string{"", "f", "d/" + blank} {
			_, _, err = r.tree.LocateFile(p)
			r.ok(err)
		}
		if keys := r.mem.Keys(bkt); len(keys) != 2 {
			t.Errorf("keys %q", keys)
		}

		_, err = r.tree.Mkdir(r.ctx, blank, Attr{Mode: 0o755})
		r.ok(err)
		r.ok(r.tree.Rename(r.ctx, "f", blank+"/"+blank, false, nil))
		r.tree.Refresh("")
		r.list("", blank+"/")
		r.list(blank, blank)
		if e := r.lookup(blank); !e.IsDir() {
			t.Errorf("%+v", e)
		}
		r.ok(r.tree.Rename(r.ctx, blank, "\n", false, nil))
		r.list("\n", blank)
	}
	r := newRig(t, Options{Bucket: bkt, Prefix: "p/"}) // the key is "p/ ": one like others
	r.object("p/ ", "x")
	r.list("", " ")
	r.lookup(" ")
	_, err := r.tree.Create("\t", Attr{})
	r.ok(err)
}
