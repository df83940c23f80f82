package docs

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

// Every sentence of fs/SEMANTICS.md has a row of docs/semantics-tests.md that begins with its words and names tests that there are, or
// says why there is none; no row is about a sentence that has gone.
func TestEverySentenceHasATest(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(testenv.Root(t) + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	promises, page := read("fs/SEMANTICS.md"), read("docs/semantics-tests.md")
	for _, wrong := range held(promises, page) {
		t.Error(wrong)
	}
	if n := len(testenv.NamedTests(t, page)); n < 200 {
		t.Errorf("only %d tests are named", n)
	}
	sentences := 0
	for _, s := range chapters(promises) {
		sentences += len(s.sentences())
	}
	if sentences < 130 {
		t.Errorf("only %d sentences are found in fs/SEMANTICS.md", sentences)
	}
}

// What the test above goes by finds each thing that may be wrong.
func TestSentencesAreHeldToTheirRows(t *testing.T) {
	const promises = "# Title\nNo promise.\n\n## A\nBoth:\n- One thing is so. Another is\n  not, and `x` neither.\n- A third.\n\n## B\n- Last.\n"
	const good = "# Title\n## A\n| Sentence | Shown by |\n| --- | --- |\n| One thing | `TestA` in fs, `TestB`, `TestC/D` in fs/tree (a rule) |\n" +
		"| Another is not | not tested: it is a licence. |\n| `x` neither | `TestA` in fs; not tested: the rest. |\n| A third. | `TestA` in fs |\n" +
		"## B\n| Sentence | Shown by |\n| --- | --- |\n| Last. | `FuzzA` in cache |\n"
	if wrong := held(promises, good); len(wrong) > 0 {
		t.Errorf("a good page: %q", wrong)
	}
	for name, change := range map[string][2]string{
		"no row":             {"| A third. | `TestA` in fs |\n", ""},
		"not the beginning":  {"| One thing |", "| thing is so. |"},
		"of another section": {"| A third. |", "| Last. |"},
		"gone":               {"| `x` neither |", "| `y` neither |"},
		"of two sentences":   {"| `x` neither |", "| A |"},
		"no test":            {"| A third. | `TestA` in fs |", "| A third. | |"},
		"words alone":        {"| A third. | `TestA` in fs |", "| A third. | somebody looked |"},
		"no directory":       {"| A third. | `TestA` in fs |", "| A third. | `TestA` in fs, `TestB` |"},
		"no reason":          {"not tested: it is a licence.", "not tested: "},
		"no section":         {"## B\n", ""},
		"another section":    {"## B\n", "## B\n## C\n"},
		"three columns":      {"| A third. | `TestA` in fs |", "| A third. | `TestA` in fs | x |"},
	} {
		page := strings.Replace(good, change[0], change[1], 1)
		if page == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		if len(held(promises, page)) == 0 {
			t.Errorf("%s: nothing is wrong", name)
		}
	}
}

var (
	// shown are tests with their directories, and why the rest has none.
	shown = regexp.MustCompile("^(?:`(?:Test|Fuzz)[A-Z][\\w/]*`(?:, | in [a-z0-9/]+(?: \\([^)]+\\))?(?:, |; |$)))*(?:not tested: .+\\.)?$")
	stop  = regexp.MustCompile(`\. `)
)

// held says what is wrong with a page of rows for a page of promises.
func held(promises, page string) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	is, rows := chapters(promises), chapters(page)
	if want, got := titles(is), titles(rows); !slices.Equal(got, want) {
		say("the sections are %q, those of the promises %q", got, want)
		return wrong
	}
	for i, chapter := range is {
		sentences := chapter.sentences()
		begun := map[string]bool{}
		for _, table := range testenv.Tables(rows[i].text) {
			for _, row := range table.Rows {
				if len(row) != 2 || row[0] == "" || row[1] == "" || !shown.MatchString(row[1]) {
					say("%s: neither tests and their directories nor a reason: %q", chapter.title, row)
					continue
				}
				in := slices.DeleteFunc(slices.Clone(sentences), func(s string) bool { return !strings.Contains(s, row[0]) })
				if len(in) != 1 {
					say("%s: %d sentences have the words %q", chapter.title, len(in), row[0])
				} else if strings.HasPrefix(in[0], row[0]) {
					begun[in[0]] = true
				}
			}
		}
		for _, s := range sentences {
			if !begun[s] {
				say("%s: no row begins as this sentence does: %s", chapter.title, s)
			}
		}
	}
	return wrong
}

// chapter is what stands below a heading of the second level.
type chapter struct{ title, text string }

func chapters(page string) (all []chapter) {
	for _, part := range strings.Split("\n"+page, "\n## ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		all = append(all, chapter{title, text})
	}
	return all
}

func titles(all []chapter) (list []string) {
	for _, c := range all {
		list = append(list, c.title)
	}
	return list
}

// sentences are those of the paragraphs and points. A paragraph that ends in a colon is a heading to what follows.
func (c chapter) sentences() (all []string) {
	for _, paragraph := range strings.Split(strings.ReplaceAll(c.text, "\n- ", "\n\n- "), "\n\n") {
		text, point := strings.CutPrefix(strings.TrimSpace(paragraph), "- ")
		text = strings.Join(strings.Fields(text), " ")
		if text == "" || !point && strings.HasSuffix(text, ":") {
			continue
		}
		for {
			at := stop.FindStringIndex(text)
			if at == nil {
				break
			}
			all, text = append(all, text[:at[0]+1]), text[at[1]:]
		}
		all = append(all, text)
	}
	return all
}
