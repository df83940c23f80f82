package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// child is a server that prints one JSON line when it is ready and ends when its standard input closes, which it does
// when this process ends in whatever way.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ready map[string]string
}

func startChild(path string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(path, append(args, "--exit-with-stdin")...)}
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the benchmark, which unmounts first
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var fields map[string]any
	if err == nil {
		err = json.Unmarshal(line, &fields)
	}
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("%s did not start: %w", filepath.Base(path), err)
	}
	c.ready = map[string]string{}
	for k, v := range fields {
		c.ready[k] = fmt.Sprint(v)
	}
	return c, nil
}

func (c *child) stop() {
	c.stdin.Close()
	timer := time.AfterFunc(5*time.Second, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	c.cmd.Wait() // its status does not matter any more
}
