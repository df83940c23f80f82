package keyfile

import (
	"strings"
	"testing"
)

// FuzzPut: whatever a credentials file holds, keys that are put into it are there afterwards, once, and every line that is not about
// them is as it was.
func FuzzPut(f *testing.F) {
	f.Add(had, "default")
	f.Add(had, "other")
	f.Add("", "new")
	f.Add("[a]\r\nx = y", "b")
	f.Add("aws_access_key_id = 1\n[ a ] ; c\naws_secret_access_key: 2", "a")
	f.Fuzz(func(t *testing.T, text, profile string) {
		if checkProfile(profile) != nil || strings.ContainsRune(text, 0) {
			return
		}
		k := Keys{"FRESHKEY", "freshsecret"}
		once := put(text, profile, k)
		found := 0
		for _, p := range profiles(once) {
			if p.Name == profile && p.Access == k.Access {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d times in\n%q", found, once)
		}
		if again := put(once, profile, k); again != once {
			t.Errorf("a second time\n%q\nafter\n%q", again, once)
		}
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\r\n")
			if name, _, ok := setting(line); ok && (name == accessName || name == secretName || name == sessionName) {
				continue
			}
			if !strings.Contains(once, line) {
				t.Errorf("%q is gone from\n%q", line, once)
			}
		}
	})
}
