package testenv

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// declaredTest is a whole test, as gofmt writes it: in a line, or up to the first brace at the beginning of one.
	declaredTest = regexp.MustCompile(`(?ms)^func ((?:Test|Fuzz)[A-Z]\w*)\((?:[^\n]*\}$|.*?^\})`)
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)(?:/([^`]+))?`")
	// namedTests are several of one directory: `TestA`, `TestB/Part` in DIRECTORY.
	namedTests = regexp.MustCompile("((?:`(?:Test|Fuzz)[A-Z]\\w*(?:/[^`]+)?`(?:, )?)+)(?: in ((?:cache|cmd|contrib|fs|s3client|tests)[a-z0-9/]*))?")
	// scriptsOf is where a test has its parts that are files: testscript's.
	scriptsOf = regexp.MustCompile(`testscript\.Params\{\s*Dir:\s*"([^"]+)"`)
)

// NamedTests holds a page to the tests and fuzz targets that it names, as `TestName` or `TestName` in DIRECTORY: each is there,
// and in that directory, whatever tags it needs. Of `TestName/Part` the part is a string in that test, or a script of its. It
// returns their names.
func NamedTests(t testing.TB, page string) []string {
	t.Helper()
	declared, named := declaredTests(t), map[string]bool{}
	for _, list := range namedTests.FindAllStringSubmatch(page, -1) {
		dir := list[2]
		for _, m := range namedTest.FindAllStringSubmatch(list[1], -1) {
			named[m[1]] = true
			if !slices.ContainsFunc(declared[m[1]], func(d declaration) bool { return (dir == "" || d.dir == dir) && d.has(m[2]) }) {
				t.Errorf("there is no %s %s", strings.Trim(m[0], "`"), dir)
			}
		}
	}
	return slices.Sorted(maps.Keys(named))
}

// Claims counts the rows of the tables that have a column of this name. Each has to name a test there, or to say that there is
// no test.
func Claims(t testing.TB, page, column string) (rows int) {
	t.Helper()
	for _, table := range Tables(page) {
		i := slices.Index(table.Head, column)
		if i < 0 {
			continue
		}
		for _, row := range table.Rows {
			rows++
			if len(row) != len(table.Head) || !namedTest.MatchString(row[i]) && !strings.Contains(row[i], "no test") {
				t.Errorf("no test is named in %q", row)
			}
		}
	}
	return rows
}

// Table is one of a page in Markdown.
type Table struct {
	Head []string
	Rows [][]string
}

// Tables are those of a page. Cells have no | in them.
func Tables(page string) (all []Table) {
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		cells := strings.Split(strings.TrimSuffix(line[1:], "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !inside:
			all, inside = append(all, Table{Head: cells}), true
		case !strings.HasPrefix(cells[0], "---"):
			last := &all[len(all)-1]
			last.Rows = append(last.Rows, cells)
		}
	}
	return all
}

// declaration is a test: where it stands, and its text.
type declaration struct{ root, dir, text string }

// has says whether a test has a part, "" or several with slashes between them.
func (d declaration) has(part string) bool {
	if part == "" {
		return true
	}
	for name := range strings.SplitSeq(part, "/") {
		if !strings.Contains(strings.ReplaceAll(d.text, " ", "_"), `"`+name+`"`) && !d.hasScript(name) {
			return false
		}
	}
	return true
}

func (d declaration) hasScript(name string) bool {
	dir := scriptsOf.FindStringSubmatch(d.text)
	if dir == nil {
		return false
	}
	for _, suffix := range []string{".txtar", ".txt"} {
		if _, err := os.Stat(filepath.Join(d.root, d.dir, dir[1], name+suffix)); err == nil {
			return true
		}
	}
	return false
}

// declaredTests are the tests of each name.
func declaredTests(t testing.TB) map[string][]declaration {
	t.Helper()
	root, declared := Root(t), map[string][]declaration{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declaredTest.FindAllSubmatch(text, -1) {
			declared[string(m[1])] = append(declared[string(m[1])], declaration{root, dir, string(m[0])})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return declared
}
