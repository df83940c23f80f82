package docs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

// Each test that the evidence names is there, where it is said to be; each of its sentences names one, or says that there is none;
// and no promise is left out.
func TestTheEvidenceNamesTests(t *testing.T) {
	text, err := os.ReadFile(testenv.Root(t) + "/docs/EVIDENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	if n := len(testenv.NamedTests(t, page)); n < 80 {
		t.Errorf("only %d tests are named", n)
	}
	if n := testenv.Claims(t, page, "Shown by"); n < 80 {
		t.Errorf("only %d sentences", n)
	}
	for i := range 10 {
		if !strings.Contains(page, fmt.Sprintf("\n### %d. ", i+1)) {
			t.Errorf("promise %d is left out", i+1)
		}
	}
}
