package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	rcloneVersion = "v1.76.0"
	// installLimit: rclone is large to build.
	installLimit = 30 * time.Minute
)

// addPeers finds the other programs, or installs them. One that cannot be had is left out.
func (r *rig) addPeers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, installLimit)
	defer cancel()
	if path, err := findS3fs(ctx); err != nil {
		r.left = append(r.left, "s3fs: "+err.Error())
	} else {
		r.mounters = append(r.mounters, s3fs{path})
	}
	if path, err := findRclone(ctx); err != nil {
		r.left = append(r.left, "rclone: "+err.Error())
	} else {
		r.mounters = append(r.mounters, rclone{path})
	}
}

// findS3fs is Debian's package.
func findS3fs(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("s3fs"); err == nil {
		return path, nil
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return "", fmt.Errorf("not installed, and this is no Debian: %w", err)
	}
	fmt.Fprintln(os.Stderr, "installing s3fs")
	cmd := exec.CommandContext(ctx, apt, "install", "-y", "--no-install-recommends", "s3fs")
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get install: %w: %s", err, lastLine(out))
	}
	return exec.LookPath("s3fs")
}

// findRclone is built once and kept beside what the tests keep.
func findRclone(ctx context.Context) (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(home, ".cache", "pailfs", "bin")
	path := filepath.Join(bin, "rclone")
	if out, err := exec.CommandContext(ctx, path, "version").Output(); err == nil && strings.HasPrefix(string(out), "rclone "+rcloneVersion) {
		return path, nil
	}
	fmt.Fprintln(os.Stderr, "building rclone", rcloneVersion)
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/rclone/rclone@"+rcloneVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install: %w: %s", err, lastLine(out))
	}
	return path, nil
}

func lastLine(out []byte) string {
	s := strings.TrimSpace(string(out))
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// s3fs keeps what it read in files; they lie in memory here.
type s3fs struct{ path string }

func (s3fs) name() string { return "s3fs" }

func (p s3fs) command(r *rig, base, mountpoint string, args []string) (*exec.Cmd, error) {
	passwd := filepath.Join(base, "passwd")
	if err := os.WriteFile(passwd, []byte(accessKey+":"+secretKey+"\n"), 0o600); err != nil {
		return nil, err
	}
	line := []string{bucket, mountpoint, "-f", "-o", "url=" + r.endpoint(), "-o", "use_path_request_style", "-o", "endpoint=" + region,
		"-o", "passwd_file=" + passwd, "-o", "use_cache=" + filepath.Join(base, "cache"), "-o", "parallel_count=16", "-o", "multipart_size=16"}
	return exec.Command(p.path, append(line, args...)...), nil
}

func (s3fs) complaint(int, string) error { return nil }

func (p s3fs) version() string {
	out, err := exec.Command(p.path, "--version").Output()
	if err != nil {
		return "of unknown version"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line + "; use_cache (in memory), parallel_count=16, multipart_size=16"
}

// rclone keeps what it read in files; they lie in memory here.
type rclone struct{ path string }

func (rclone) name() string { return "rclone" }

func (p rclone) command(r *rig, base, mountpoint string, args []string) (*exec.Cmd, error) {
	line := []string{"mount", ":s3:" + bucket, mountpoint, "--config", "/dev/null", "--cache-dir", filepath.Join(base, "cache"),
		"--vfs-cache-mode", "full", "--vfs-read-chunk-streams", "16", "--vfs-read-chunk-size", "4M", "--use-server-modtime",
		"--vfs-write-back", "0s", "--ignore-checksum"}
	cmd := exec.Command(p.path, append(line, args...)...)
	cmd.Env = append(os.Environ(), "RCLONE_S3_PROVIDER=Other", "RCLONE_S3_ENDPOINT="+r.endpoint(), "RCLONE_S3_REGION="+region,
		"RCLONE_S3_ACCESS_KEY_ID="+accessKey, "RCLONE_S3_SECRET_ACCESS_KEY="+secretKey)
	return cmd, nil
}

func (rclone) complaint(int, string) error { return nil }

func (rclone) version() string {
	return rcloneVersion + "; --vfs-cache-mode full (in memory), --vfs-read-chunk-streams 16, --vfs-read-chunk-size 4M, --use-server-modtime, --vfs-write-back 0s, --ignore-checksum"
}
