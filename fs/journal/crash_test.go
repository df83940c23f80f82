package journal

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestCrash kills a process that keeps and discards spools as fast as it can. What it said it kept must be there; the
// next Open must read all records without damage.
func TestCrash(t *testing.T) {
	if dir := os.Getenv("JOURNAL_TEST_CRASH"); dir != "" {
		crashing(dir)
	}
	for round := range 5 {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
		cmd.Env = append(os.Environ(), "JOURNAL_TEST_CRASH="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kept := make(map[string]bool)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			word, key, _ := strings.Cut(lines.Text(), " ")
			switch word {
			case "kept":
				kept[key] = true
			case "discarding":
				delete(kept, key)
			default:
				t.Fatalf("child: %s", lines.Text())
			}
			if n == 20+7*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed
		j := openJournal(t, dir)
		found := make(map[string]bool)
		for _, p := range pendings(t, j) {
			found[p.Key] = true
			checkRecovered(t, p)
		}
		for key := range kept {
			if !found[key] {
				t.Errorf("round %d: %s was kept and is not there", round, key)
			}
		}
	}
}

func checkRecovered(t *testing.T, p Recovered) {
	t.Helper()
	s, err := p.Open()
	if err != nil {
		t.Error(err)
		return
	}
	got, err := io.ReadAll(io.NewSectionReader(s, 0, p.Size))
	if err != nil || string(got) != crashContent(p.Key, p.Size) {
		t.Errorf("%s holds %.40q, %v", p.Key, got, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// crashContent is what the spool of a key holds: one in seven is too large for the log.
func crashContent(key string, size int64) string {
	content := "content of " + key
	return content + strings.Repeat("x", int(size)-len(content))
}

// crashing runs in the child until it is killed.
func crashing(dir string) {
	check := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	j, err := OpenWith(Options{Dir: dir, segmentBytes: 256 << 10})
	check(err)
	for i := range 100000 {
		s, err := j.NewSpool()
		check(err)
		key := fmt.Sprintf("key%d", i)
		size := int64(len("content of " + key))
		if i%7 == 0 {
			size += inlineBytes
		}
		_, err = s.WriteAt([]byte(crashContent(key, size)), 0)
		check(err)
		check(j.Keep(s, Pending{Bucket: "b", Key: key, Size: size, Dirty: []Range{{0, size}}, Time: time.Unix(int64(i), 0)}))
		fmt.Println("kept", key)
		if i%3 == 0 {
			fmt.Println("discarding", key)
			check(s.Discard())
		}
	}
	os.Exit(0)
}
