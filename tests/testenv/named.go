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
	declaredTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)(?:/\\w+)?`")
	// namedTests are several of one directory: `TestA`, `TestB/Part` in DIRECTORY.
	namedTests = regexp.MustCompile("((?:`(?:Test|Fuzz)[A-Z][\\w/]*`(?:, )?)+)(?: in ((?:cache|cmd|contrib|fs|s3client|tests)[a-z0-9/]*))?")
)

// NamedTests holds a page to the tests and fuzz targets that it names, as `TestName` or `TestName` in DIRECTORY: each is there,
// and in that directory, whatever tags it needs. It returns their names.
func NamedTests(t testing.TB, page string) []string {
	t.Helper()
	declared, named := declaredTests(t), map[string]bool{}
	for _, list := range namedTests.FindAllStringSubmatch(page, -1) {
		dir := list[2]
		for _, m := range namedTest.FindAllStringSubmatch(list[1], -1) {
			named[m[1]] = true
			if dirs := declared[m[1]]; len(dirs) == 0 || dir != "" && !slices.Contains(dirs, dir) {
				t.Errorf("there is no %s %s", m[1], dir)
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

// declaredTests are the directories that have a test of a name.
func declaredTests(t testing.TB) map[string][]string {
	t.Helper()
	root, declared := Root(t), map[string][]string{}
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
			declared[string(m[1])] = append(declared[string(m[1])], dir)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return declared
}
