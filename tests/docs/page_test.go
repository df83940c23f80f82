package docs

import (
	"reflect"
	"strings"
	"testing"
)

func TestAPageIsRead(t *testing.T) {
	page, err := Parse("p.md", strings.ReplaceAll(`# Title

~~~console
# mkdir /mnt/a
$ ls \
    -l
total 0
$ cat <<end
> text
> end
~~~

<!-- check: file /etc/x 0600 -->
~~~ini
a = b
~~~
`, "~~~", "```"))
	if err != nil || len(page.Blocks) != 2 {
		t.Fatalf("%+v %v", page.Blocks, err)
	}
	commands, err := page.Blocks[0].Commands()
	want := []Command{
		{Line: 4, Root: true, Text: "mkdir /mnt/a"},
		{Line: 5, Text: "ls \\\n    -l", Output: []string{"total 0"}},
		{Line: 8, Text: "cat <<end\ntext\nend"},
	}
	if err != nil || !reflect.DeepEqual(commands, want) {
		t.Errorf("%+v %v", commands, err)
	}
	if b := page.Blocks[1]; b.Check != "file" || b.Argument != "/etc/x 0600" || b.Text() != "a = b\n" || b.Line != 14 {
		t.Errorf("%+v", b)
	}
}

func TestABlockWithoutACheckIsAnError(t *testing.T) {
	for name, text := range map[string]string{
		"no check":       "```yaml\na: b\n```\n",
		"another one":    "<!-- check: hope -->\n```console\n$ x\n```\n",
		"no file":        "<!-- check: file -->\n```yaml\na: b\n```\n",
		"too far above":  "<!-- check: message -->\n\n```text\na\n```\n",
		"indented":       "- point\n  ```console\n  $ x\n  ```\n",
		"without an end": "```console\n$ x\n",
	} {
		if _, err := Parse("p.md", text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	page, err := Parse("p.md", "```console\noutput\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := page.Blocks[0].Commands(); err == nil {
		t.Error("output without a command is no error")
	}
}

func TestWhatIsShownIsCompared(t *testing.T) {
	for _, c := range []struct {
		shown, printed string
		same           bool
	}{
		{"", "anything", true},
		{"one", "one\n", true},
		{"one", "two\n", false},
		{"one", "one\ntwo\n", false},
		{"one|...", "one\ntwo\nthree\n", true},
		{"...|three", "one\ntwo\nthree\n", true},
		{"...|two|...", "one\nthree\n", false},
		{"stored: 3 files in 4.1 s", "stored: 3 files in 0.2 s\n", true},
		{"stored: 3 files in 4.1 s", "stored: 4 files in 4.1 s\n", false},
		{"pid 1, since 2026-01-02 03:04:05 (3s)", "pid 4711, since 2026-11-23 12:00:00 (25s)\n", true},
		{"a ... c", "a b b c\n", true},
		{"a ... c", "a b b c d\n", false},
		{"a ...", "a \n", false},
		{"a  b", "a b\n", true},
		{"ab...", "xab\n", false},
	} {
		var shown []string
		if c.shown != "" {
			shown = strings.Split(c.shown, "|")
		}
		if err := Match(shown, c.printed); (err == nil) != c.same {
			t.Errorf("%q, %q: %v", c.shown, c.printed, err)
		}
	}
}
