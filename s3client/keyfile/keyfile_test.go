package keyfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const had = `# my keys
[default]
region = us-east-1
aws_access_key_id = old
; do not lose this comment
aws_secret_access_key=oldsecret
aws_session_token: oldsession
s3 =
  addressing_style = path

[other]
aws_access_key_id = otherkey
aws_secret_access_key = othersecret
# the end`

func TestPutChangesOneProfile(t *testing.T) {
	k := Keys{"NEW", "NEWSECRET"}
	const lines = "aws_access_key_id = NEW\naws_secret_access_key = NEWSECRET\n"
	for name, c := range map[string]struct{ text, profile, want string }{
		"no file":            {"", "default", "[default]\n" + lines},
		"a new profile":      {had, "third", had + "\n\n[third]\n" + lines},
		"the first":          {had, "default", "# my keys\n[default]\n" + lines + "region = us-east-1\n; do not lose this comment\ns3 =\n  addressing_style = path\n\n[other]\naws_access_key_id = otherkey\naws_secret_access_key = othersecret\n# the end\n"},
		"the last":           {had, "other", strings.Replace(strings.Replace(had, "aws_access_key_id = otherkey\naws_secret_access_key = othersecret\n", lines, 1), "# the end", "# the end\n", 1)},
		"blanks in brackets": {"[ default ]\n", "default", "[ default ]\n" + lines},
		"a comment behind":   {"[default] # mine\nx = y\n", "default", "[default] # mine\n" + lines + "x = y\n"},
		"Windows":            {"[a]\r\nx = y\r\n", "b", "[a]\r\nx = y\r\n\r\n[b]\r\n" + strings.ReplaceAll(lines, "\n", "\r\n")},
		"twice":              {"[a]\naws_access_key_id = 1\n[a]\naws_access_key_id = 2\naws_secret_access_key = 3\n", "a", "[a]\n" + lines + "[a]\n"},
		"other letters":      {"[a]\nAWS_ACCESS_KEY_ID = 1\n", "a", "[a]\n" + lines},
		"a value within":     {"[a]\ns3 =\n  aws_access_key_id = 1\n", "a", "[a]\n" + lines + "s3 =\n  aws_access_key_id = 1\n"},
	} {
		if got := put(c.text, c.profile, k); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
		again := put(put(c.text, c.profile, Keys{"x", "y"}), c.profile, k)
		if once := put(c.text, c.profile, k); again != once {
			t.Errorf("%s: a second time:\n%s\nonce:\n%s", name, again, once)
		}
	}
}

func TestProfilesWithKeys(t *testing.T) {
	got := profiles(had + "\n[none]\nregion = x\n")
	if len(got) != 2 || got[0] != (Profile{"default", "old"}) || got[1] != (Profile{"other", "otherkey"}) {
		t.Errorf("%+v", got)
	}
}

// file writes a file and checks what is there afterwards.
func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if text != "" {
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".pailfs*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %q %v", left, err)
	}
	return string(b)
}

func TestPutIsPrivateAndKeepsLinks(t *testing.T) {
	path := file(t, had, 0o644)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := Put(t.Context(), link, "third", Keys{"a", "s"}, false); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); !strings.HasSuffix(got, "[third]\naws_access_key_id = a\naws_secret_access_key = s\n") {
		t.Errorf("%s", got)
	}
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link: %s %v", to, err)
	}
	none := filepath.Join(t.TempDir(), "none")
	if err := os.Symlink(none, none+".link"); err != nil {
		t.Fatal(err)
	}
	if err := Put(t.Context(), none+".link", "a", Keys{"a", "s"}, false); err == nil {
		t.Error("a link to nothing")
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(path, 12345, 23456); err != nil {
		t.Fatal(err)
	}
	if err := Put(t.Context(), path, "third", Keys{"b", "s"}, true); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Uid != 12345 || st.Gid != 23456 {
		t.Errorf("owner %d:%d %v", st.Uid, st.Gid, err)
	}
}

func TestAProfileThatHasKeysIsLeftAlone(t *testing.T) {
	path := file(t, had, 0o600)
	for what, err := range map[string]error{
		"check": Check(path, "other", false),
		"put":   Put(t.Context(), path, "other", Keys{"a", "s"}, false),
	} {
		if !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := content(t, path); got != had {
		t.Errorf("%s", got)
	}
	if err := errors.Join(Check(path, "other", true), Check(path, "new", false)); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	path := file(t, "", 0)
	for name, err := range map[string]error{
		"a profile of two lines":  Put(t.Context(), path, "a]\n[b", Keys{"a", "s"}, false),
		"no profile":              Put(t.Context(), path, "", Keys{"a", "s"}, false),
		"a secret with a comment": Put(t.Context(), path, "a", Keys{"a", "s#x"}, false),
		"a secret of two lines":   Put(t.Context(), path, "a", Keys{"a", "s\n[x]"}, false),
		"no secret":               Put(t.Context(), path, "a", Keys{"a", ""}, false),
		"no directory":            Put(t.Context(), path+"/x/y", "a", Keys{"a", "s"}, false),
		"a directory":             Put(t.Context(), filepath.Dir(path), "a", Keys{"a", "s"}, false),
	} {
		if err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was left: %v", err)
	}
	text := file(t, "a\x00b", 0o600)
	if err := Put(t.Context(), text, "a", Keys{"a", "s"}, false); err == nil {
		t.Error("no text was taken for a file of keys")
	}
	deep := filepath.Join(t.TempDir(), "x", "y", "credentials")
	if err := errors.Join(Check(deep, "a", false), Put(t.Context(), deep, "a", Keys{"a", "s"}, false)); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Dir(deep)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
}

// Many writers at once: each finds what the others have written.
func TestWritersTakeTurns(t *testing.T) {
	path := file(t, "", 0)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := Put(t.Context(), path, fmt.Sprintf("p%d", i), Keys{fmt.Sprintf("a%d", i), "s"}, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := profiles(content(t, path)); len(got) != 20 {
		t.Errorf("%d profiles: %+v", len(got), got)
	}
}

func TestAWriterThatWaitsTooLong(t *testing.T) {
	path := file(t, had, 0o600)
	f, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Put(ctx, path, "a", Keys{"a", "s"}, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if got := content(t, path); got != had {
		t.Errorf("%s", got)
	}
}
