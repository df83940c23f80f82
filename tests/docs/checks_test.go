package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

// Blocks that are not run on a page's host are held to what there is. Those of `system` and `container` are run by tests/system and
// tests/container.
func TestBlocksThatAreNotRunHere(t *testing.T) {
	root := testenv.Root(t)
	for _, page := range pages(t) {
		for _, b := range page.Blocks {
			var err string
			switch b.Check {
			case "install":
				err = installs(root, b)
			case "part":
				err = partOf(root, b)
			case "manifest":
				err = manifest(root, b)
			case "message":
				continue // messages_test.go
			case "system", "container":
				if !slices.Contains([]string{"systemd.md", "containers.md"}, page.Name) {
					err = "tests/system and tests/container do not read this page"
				}
			}
			if err != "" {
				t.Errorf("%s:%d: %s", page.Name, b.Line, err)
			}
		}
	}
}

// installs wants packages that `make test` itself installs, and targets that make has.
func installs(root string, b Block) string {
	commands, err := b.Commands()
	if err != nil {
		return err.Error()
	}
	makefile, err := os.ReadFile(root + "/Makefile")
	if err != nil {
		return err.Error()
	}
	run, err := os.ReadFile(root + "/tests/run")
	if err != nil {
		return err.Error()
	}
	for _, c := range commands {
		text, _, _ := strings.Cut(c.Text, "  #") // a remark
		for _, one := range strings.Split(text, "&&") {
			words := strings.Fields(one)
			switch {
			case words[0] == "make":
				for _, target := range words[1:] {
					if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(makefile) {
						return "the Makefile has no target " + target
					}
				}
			case strings.HasPrefix(one, "apt-get install "):
				for _, name := range words[2:] {
					if name == "./dist/pailfs_*_amd64.deb" {
						continue // tests/system installs what `make packages` makes
					}
					if !regexp.MustCompile(`[( +][a-z0-9-]+:` + regexp.QuoteMeta(name) + `[ )]`).Match(run) {
						return "tests/run does not install " + name
					}
				}
			default:
				return "this is no way to install that is known: " + one
			}
		}
	}
	return ""
}

// partOf wants each line, but "...", to be one of the file, in its order.
func partOf(root string, b Block) string {
	name := strings.TrimPrefix(b.Argument, "of ")
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(text), "\n")
	for _, line := range b.Lines {
		if strings.TrimSpace(line) == "..." || strings.TrimSpace(line) == "# ..." {
			continue
		}
		i := slices.Index(lines, line)
		if i < 0 {
			return name + " has no line (behind the one before) " + line
		}
		lines = lines[i+1:]
	}
	return ""
}

// manifest wants the files that kubectl and podman-compose are given; their own tests are beside the program (containers_test.go).
func manifest(root string, b Block) string {
	commands, err := b.Commands()
	if err != nil {
		return err.Error()
	}
	for _, c := range commands {
		words := strings.Fields(c.Text)
		below := map[string]string{"kubectl": "contrib/kubernetes/", "podman-compose": "contrib/container/"}[words[0]]
		if below == "" || !slices.Contains(words, "-f") {
			return "no manifest is named: " + c.Text
		}
		for i, w := range words {
			if w != "-f" {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, words[i+1])); err != nil || !strings.HasPrefix(words[i+1], below) {
				return "no manifest " + words[i+1]
			}
		}
	}
	return ""
}

// Lines of fstab mean something to the program.
func TestLinesOfFstab(t *testing.T) {
	seen := 0
	keys := t.TempDir() + "/credentials"
	if err := os.WriteFile(keys, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, page := range pages(t) {
		for _, b := range page.Blocks {
			if b.Language != "fstab" {
				continue
			}
			for _, line := range b.Lines {
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				cmd := exec.Command(testenv.Binary(t), "mount", "--dry-run", strings.ReplaceAll(line, "/etc/pailfs/credentials", keys))
				cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
				out, _ := cmd.CombinedOutput() // that the mount point is not there is its last word
				if !strings.Contains(string(out), "\nshown as ") {
					t.Errorf("%s:%d: %s\n%s", page.Name, b.Line, line, out)
				}
				seen++
			}
		}
	}
	if seen < 3 {
		t.Errorf("%d lines", seen)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inline  = regexp.MustCompile("`[^`]*`")
	heading = regexp.MustCompile(`^#{1,6} +(.*)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are those that a page's headings get.
func anchors(p Page) []string {
	var all []string
	fenced := false
	for _, line := range p.Lines {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if m := heading.FindStringSubmatch(line); m != nil && !fenced {
			text := dropped.ReplaceAllString(strings.ToLower(strings.ReplaceAll(m[1], "`", "")), "")
			all = append(all, strings.ReplaceAll(strings.TrimSpace(text), " ", "-"))
		}
	}
	return all
}

// Links lead to files and headings that there are.
func TestLinks(t *testing.T) {
	root := testenv.Root(t)
	files, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, root+"/README.md", root+"/CONTRIBUTING.md", root+"/fs/README.md", root+"/fs/SEMANTICS.md", root+"/tests/README.md")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		short := strings.TrimPrefix(file, root+"/")
		for n, line := range strings.Split(string(text), "\n") {
			for _, m := range link.FindAllStringSubmatch(inline.ReplaceAllString(line, ""), -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				path, anchor, _ := strings.Cut(m[1], "#")
				target := file
				if path != "" {
					target = filepath.Join(filepath.Dir(file), path)
				}
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s:%d: %s leads nowhere", short, n+1, m[1])
					continue
				}
				if anchor == "" || !strings.HasSuffix(target, ".md") {
					continue
				}
				b, err := os.ReadFile(target)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(anchors(Page{Lines: strings.Split(string(b), "\n")}), anchor) {
					t.Errorf("%s:%d: %s has no heading #%s", short, n+1, path, anchor)
				}
			}
		}
	}
}

// The index names each page, and no page is left out of it.
func TestTheIndexNamesEachPage(t *testing.T) {
	root := testenv.Root(t)
	index, err := os.ReadFile(root + "/docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); name != "README.md" && !strings.Contains(string(index), "]("+name) {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
}

var number = regexp.MustCompile(`\b\d+(\.\d+)?\b`)

// Figures in a table below `<!-- figures: FILE -->` are those of the file, but for sizes and numbers of requests in its first column.
func TestFiguresWereMeasured(t *testing.T) {
	seen := 0
	for _, page := range pages(t) {
		from := ""
		for n, line := range page.Lines {
			if text, ok := strings.CutPrefix(line, "<!-- figures: "); ok {
				from = strings.TrimSuffix(text, " -->")
			}
			if from == "" || !strings.HasPrefix(line, "|") {
				if line == "" {
					from = ""
				}
				continue
			}
			b, err := os.ReadFile(filepath.Join(testenv.Root(t), from))
			if err != nil {
				t.Fatal(err)
			}
			cells := strings.Split(line, "|")
			for _, figure := range number.FindAllString(strings.Join(cells[2:min(4, len(cells))], " "), -1) {
				seen++
				if !regexp.MustCompile(`(^|[^\d.])` + regexp.QuoteMeta(figure) + `([^\d.]|$)`).Match(b) {
					t.Errorf("docs/%s:%d: %s has no %s", page.Name, n+1, from, figure)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d figures", seen)
	}
}
