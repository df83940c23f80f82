package posix

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// aligned is memory as O_DIRECT wants it.
func aligned(n int) []byte {
	const page = 4096
	p := make([]byte, n+page)
	skip := (page - int(uintptr(unsafe.Pointer(&p[0]))%page)) % page
	return p[skip : skip+n : skip+n]
}

// program copies /bin/cat here: a program that runs until its input ends.
func (d *dir) program(name string) {
	b, err := os.ReadFile("/bin/cat")
	d.ok(err)
	d.ok(os.WriteFile(d.at(name), b, 0o755))
}

// running runs a program until its input is closed, at the rule's end at the latest.
func (d *dir) running(path string, args ...string) (*exec.Cmd, io.Closer) {
	return d.runningIn("", path, args...)
}

// runningIn is running in a directory, which the program is in when it returns.
func (d *dir) runningIn(at, path string, args ...string) (*exec.Cmd, io.Closer) {
	cmd := exec.Command(path, args...)
	cmd.Dir = at
	in, err := cmd.StdinPipe()
	d.ok(err)
	d.ok(cmd.Start())
	d.after = append(d.after, func() error {
		in.Close() // a rule may have closed it
		return cmd.Wait()
	})
	return cmd, in
}

// shell runs a script in the rule's directory.
func (d *dir) shell(script string) string {
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = d.path
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.wrong("%v: %s", err, out)
	}
	return string(out)
}

// otherVar makes this program do what it says, as another process than a rule's.
const otherVar = "PAILFS_TEST_POSIX_OTHER"

// self starts this program again: otherLocks and holds. out gives its next line. It ends when its input is closed.
func (d *dir) self(what string, paths ...string) (cmd *exec.Cmd, in io.WriteCloser, out func() string) {
	cmd = exec.Command("/proc/self/exe", paths...)
	cmd.Env = append(os.Environ(), otherVar+"="+what)
	in, err := cmd.StdinPipe()
	d.ok(err)
	pipe, err := cmd.StdoutPipe()
	d.ok(err)
	d.ok(cmd.Start())
	d.after = append(d.after, func() error {
		in.Close()
		cmd.Wait() // a rule may have waited
		return nil
	})
	lines := bufio.NewReader(pipe)
	return cmd, in, func() string {
		line, err := lines.ReadString('\n')
		d.ok(err)
		return strings.TrimSpace(line)
	}
}

// otherLocks says whether another process may lock a file to write.
func (d *dir) otherLocks(name string) string {
	_, in, out := d.self("lock", d.at(name))
	defer in.Close()
	return out()
}

// other is the side of the other process.
func other(what string, paths []string) int {
	fd, err := unix.Open(paths[0], unix.O_RDWR, 0)
	if err == nil {
		err = unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	switch {
	case what == "lock" && err == unix.EAGAIN:
		fmt.Println("EAGAIN")
	case what == "lock" && err == nil:
		fmt.Println("OK")
	case what == "hold" && err == nil:
		fmt.Println("held")
	default:
		fmt.Println(what, err)
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return 1
	}
	return 0
}
