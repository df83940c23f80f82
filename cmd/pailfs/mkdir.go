package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// mkdirWord is what a list of words says of making the mount point: x-mount.mkdir[=MODE], as mount(8) knows it. There it is done
// before a helper is called.
func mkdirWord(words []string) (mode fs.FileMode, asked bool, err error) {
	const usual = 0o755
	for _, word := range words {
		name, value, hasValue := strings.Cut(word, "=")
		if !strings.EqualFold(name, "x-mount.mkdir") {
			continue
		}
		mode, asked = usual, true
		if !hasValue {
			continue
		}
		n, err := strconv.ParseUint(value, 8, 32)
		if err != nil || n > 0o777 {
			return 0, false, fmt.Errorf("%s: %q is no octal mode such as 0755", name, value)
		}
		mode = fs.FileMode(n)
	}
	return mode, asked, nil
}

// makeMountpoint makes the directory where the words ask for it. One that is there, or a mount, is left as it is.
func makeMountpoint(command, path string, words []string) error {
	mode, asked, err := mkdirWord(words)
	if err != nil {
		return usagef(command, "-o %v", err)
	}
	if !asked {
		return nil
	}
	if err := os.MkdirAll(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return &failure{code: exitMountPoint, command: command, message: fmt.Sprintf("cannot make the mount point: %v", err)}
	}
	return nil
}
