package testenv

import (
	"reflect"
	"testing"
)

// told counts what would fail a test.
type told struct {
	testing.TB
	errors int
}

func (x *told) Errorf(string, ...any) { x.errors++ }

func TestNamedTests(t *testing.T) {
	for _, c := range []struct {
		page   string
		errors int
	}{
		{"`TestNamedTests`", 0},
		{"`TestNamedTests`, `TestTables` in tests/testenv.", 0},
		{"`TestAHost/Kill`, `TestAHost/Reboot` in tests/system, and", 0},
		{"`TestAHost/Kill`, `TestAHost/Killed` in tests/system", 1},
		{"`TestAHost/kill9`", 1},
		{"`TestAHost/Kill/Twice`", 1},
		{"`TestInterruptEndsAReaderWhoWaits/in_open` in tests/mount", 0},
		{"`TestInterruptEndsAReaderWhoWaits/in-open` in tests/mount", 1},
		{"`TestScripts/version` in cmd/pailfs", 0},
		{"`TestScripts/nothing` in cmd/pailfs", 1},
		{"`TestScripts/version` in tests/testenv", 1},
		{"`TestNamedTests` in the middle of a sentence", 0},
		{"`TestThatThereIsNot`", 1},
		{"`TestThatThereIsNot`, `TestTables` in tests/testenv", 1},
		{"`TestNamedTests`, `TestTables` in tests/mount", 2},
		{"`TestTables` in tests/testenv, `TestTables` in cache", 1},
	} {
		x := &told{TB: t}
		if NamedTests(x, c.page); x.errors != c.errors {
			t.Errorf("%q: %d errors, want %d", c.page, x.errors, c.errors)
		}
	}
}

func TestTables(t *testing.T) {
	page := "| a | b |\n|---|---|\n| 1 | `TestTables` |\n| 2 | |\ntext\n| c |\n| --- |\n| - |\n"
	want := []Table{{[]string{"a", "b"}, [][]string{{"1", "`TestTables`"}, {"2", ""}}}, {[]string{"c"}, [][]string{{"-"}}}}
	if got := Tables(page); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	x := &told{TB: t}
	if n := Claims(x, page, "b"); n != 2 || x.errors != 1 {
		t.Errorf("%d rows, %d without a test", n, x.errors)
	}
	if n := Claims(x, page, "d"); n != 0 {
		t.Errorf("%d rows of a column that there is not", n)
	}
}
