package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

// The rooms whose words users see.
var speaking = []string{"cmd/pailfs", "fs", "cache", "s3client"}

var verb = regexp.MustCompile(`%[-+# 0]*[0-9]*(\.[0-9]+)?(\[[0-9]+\])?[a-zA-Z]`)

// literals are the string constants of the program's source, verbs of formats as line breaks. Constants that are added up are one.
func literals(t *testing.T) []string {
	t.Helper()
	var all []string
	root := testenv.Root(t)
	for _, room := range speaking {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, constant := said(e)
				if constant {
					all = append(all, verb.ReplaceAllString(text, "\n"))
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// said is the text of a string constant or of a sum of them; what is no constant in a sum is a line break.
func said(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return "", false
		}
		x, okX := said(e.X)
		y, okY := said(e.Y)
		if !okX {
			x = "\n"
		}
		if !okY {
			y = "\n"
		}
		return x + y, okX || okY
	}
	return "", false
}

// blank is what stands in a message for what differs: "..." or a word of capitals, as NAME, BUCKET/KEY or MOUNTPOINT.
var blank = regexp.MustCompile(`\.\.\.|\b[A-Z][A-Z]+(/[A-Z]+)*\b`)

// notBlank are words of capitals that messages have themselves.
var notBlank = []string{"DNS", "TLS", "CAP_SYS_ADMIN", "ETAG", "MD5", "FUSE", "PAILFS_RUN_DIR", "AWS_SESSION_TOKEN", "EC2", "S3", "UTF", "URL", "API", "ID", "HEAD", "COPY", "SIGHUP"}

// pieces are what a message says of itself.
func pieces(message string) []string {
	marked := blank.ReplaceAllStringFunc(message, func(w string) string {
		if slices.Contains(notBlank, w) {
			return w
		}
		return "\n"
	})
	var all []string
	for p := range strings.SplitSeq(marked, "\n") {
		if p = strings.Trim(p, " :;,()'`\"/"); len(p) > 3 {
			all = append(all, p)
		}
	}
	return all
}

var firstCell = regexp.MustCompile("^\\| `([^`]+)` \\|")

// messages are the lines of a page's blocks of messages, and what the first column of its tables shows as code.
func messages(p Page) []string {
	var all []string
	for _, b := range p.Blocks {
		if b.Check == "message" {
			all = append(all, b.Lines...)
		}
	}
	for _, line := range p.Lines {
		if m := firstCell.FindStringSubmatch(line); m != nil {
			all = append(all, m[1])
		}
	}
	return all
}

func page(t *testing.T, name string) Page {
	t.Helper()
	p, err := Read(testenv.Root(t) + "/docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What the page on troubles quotes, the program says.
func TestMessagesAreTheProgramsOwn(t *testing.T) {
	all := strings.Join(literals(t), "\x00\n")
	quoted := messages(page(t, "troubleshooting.md"))
	for _, m := range quoted {
		found := pieces(m)
		if len(found) == 0 {
			t.Errorf("%q says nothing", m)
		}
		for _, p := range found {
			if !strings.Contains(all, p) {
				t.Errorf("%q: no message has %q", m, p)
			}
		}
	}
	if len(quoted) < 40 {
		t.Errorf("only %d messages", len(quoted))
	}
}

// Every failure of the store, the network and the host that has words of its own is on the page.
func TestEveryFailureIsOnThePage(t *testing.T) {
	text := strings.Join(messages(page(t, "troubleshooting.md")), "\n")
	seen := 0
	for _, name := range []string{"hints.go", "hints_network.go", "hints_host.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(testenv.Root(t), "cmd/pailfs", name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 3 {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); !ok || s.Sel.Name != "fail" {
				return true
			}
			for _, words := range parts(call.Args[1]) {
				seen++
				if !strings.Contains(text, words) {
					t.Errorf("%s says %q, the page does not", name, words)
				}
			}
			return true
		})
	}
	if seen < 30 {
		t.Errorf("only %d failures were found", seen)
	}
}

// parts are what of a message stands in the source.
func parts(e ast.Expr) []string {
	if call, ok := e.(*ast.CallExpr); ok && len(call.Args) > 0 { // fmt.Sprintf
		e = call.Args[0]
	}
	text, ok := said(e)
	if !ok {
		return nil
	}
	var all []string
	for p := range strings.SplitSeq(verb.ReplaceAllString(text, "\n"), "\n") {
		if p = strings.Trim(p, " :;,()"); len(p) > 3 {
			all = append(all, p)
		}
	}
	return all
}

var errnoName = regexp.MustCompile(`syscall\.(E[A-Z]+)\b`)

// Every errno that the store's answers become is told of.
func TestEveryErrnoIsOnThePage(t *testing.T) {
	source, err := os.ReadFile(testenv.Root(t) + "/fs/errno.go")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(page(t, "troubleshooting.md").Lines, "\n")
	seen := map[string]bool{}
	for _, m := range errnoName.FindAllStringSubmatch(string(source), -1) {
		if name := m[1]; !seen[name] {
			seen[name] = true
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("the page says nothing of %s", name)
			}
		}
	}
	if len(seen) < 15 {
		t.Errorf("only %d were found", len(seen))
	}
}
