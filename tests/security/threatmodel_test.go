package security

import (
	"os"
	"testing"

	"pailfs/tests/testenv"
)

// Each test that the threat model names exists, and each line of its tables names one or says that none is.
func TestTheThreatModelNamesTests(t *testing.T) {
	page, err := os.ReadFile(testenv.Root(t) + "/docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(testenv.NamedTests(t, string(page))); n < 40 {
		t.Errorf("only %d tests are named", n)
	}
	if n := testenv.Claims(t, string(page), "shown by"); n < 20 {
		t.Errorf("only %d claims", n)
	}
}
