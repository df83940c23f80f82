package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// manifest is a document of contrib: what of it is looked at.
type manifest struct {
	t    *testing.T
	name string
	doc  map[string]any
}

func manifests(t *testing.T) []manifest {
	t.Helper()
	var all []manifest
	for _, pattern := range []string{"../../contrib/container/*.yaml", "../../contrib/kubernetes/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) < 2 {
			t.Fatalf("%v %v", names, err)
		}
		for _, name := range names {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for d := yaml.NewDecoder(f); ; {
				m := manifest{t: t, name: filepath.Base(name)}
				if err := d.Decode(&m.doc); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				all = append(all, m)
			}
		}
	}
	return all
}

// commands are the command lines of pailfs in a part of a document, program name excluded.
func (m manifest) commands(part any) [][]string {
	var found [][]string
	switch v := part.(type) {
	case map[string]any:
		image, _ := v["image"].(string)
		for key, value := range v {
			words := m.words(value)
			ours := strings.HasPrefix(image, "localhost/pailfs")
			switch {
			case ours && (key == "args" || key == "command"):
				found = append(found, words)
			case (key == "command" || key == "test") && slices.Contains(words, "/usr/bin/pailfs"):
				found = append(found, words[slices.Index(words, "/usr/bin/pailfs")+1:])
			}
			found = append(found, m.commands(value)...)
		}
	case []any:
		for _, one := range v {
			found = append(found, m.commands(one)...)
		}
	}
	return found
}

func (m manifest) words(list any) []string {
	var words []string
	values, _ := list.([]any)
	for _, v := range values {
		if s, ok := v.(string); ok {
			words = append(words, s)
		}
	}
	return words
}

// runs carries a command line out as far as that is possible here.
func (m manifest) runs(line []string) {
	m.t.Helper()
	dir := m.t.TempDir()
	file := write(m.t, dir+"/credentials", "[default]\naws_access_key_id = a\naws_secret_access_key = b\n", 0o600)
	args := slices.Clone(line)
	for i, a := range args {
		switch {
		case strings.HasPrefix(a, "--credentials-file="):
			args[i] = "--credentials-file=" + file
		case a == "/volume/photos" && line[0] == "mount-helper":
			args[i] = file + "/photos" // cannot be made, so that it ends there
		}
	}
	if line[0] == "mount" {
		args = append([]string{"mount", "--dry-run"}, args[1:]...)
	}
	stdout, stderr, code := output(m.t, args...)
	switch line[0] {
	case "mount":
		if slices.Contains(line, "--fd-socket=/lend/photos.sock") != strings.Contains(stdout, "descriptor     of the mount-helper at /lend/photos.sock\n") {
			m.t.Errorf("%s: pailfs %v:\n%s", m.name, line, stdout)
		}
		if code != exitOK && code != exitMountPoint || !strings.Contains(stdout, "bucket photos") || !strings.Contains(stdout, "on             /volume/photos") {
			m.t.Errorf("%s: pailfs %v: code %d\n%s%s", m.name, line, code, stdout, stderr)
		}
	case "mount-helper":
		if code != exitMountPoint || !strings.Contains(stderr, "cannot make the mount point") {
			m.t.Errorf("%s: pailfs %v: code %d\n%s", m.name, line, code, stderr)
		}
	case "status":
		if code == exitUsage {
			m.t.Errorf("%s: pailfs %v: code %d\n%s", m.name, line, code, stderr)
		}
	default:
		m.t.Errorf("%s: pailfs %v: a command without a test", m.name, line)
	}
}

// Every command line of pailfs in the manifests means what it is to mean.
func TestManifestsRunWhatThereIs(t *testing.T) {
	t.Setenv("PAILFS_RUN_DIR", t.TempDir())
	seen := map[string]int{}
	for _, m := range manifests(t) {
		for _, line := range m.commands(m.doc) {
			m.runs(line)
			seen[line[0]]++
		}
	}
	if seen["mount"] != 4 || seen["mount-helper"] != 2 || seen["status"] < 4 {
		t.Errorf("%v", seen)
	}
}

// pod is what is checked of one.
type pod struct {
	Spec struct {
		TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
		InitContainers, Containers    []container
		Volumes                       []struct {
			Name   string
			Secret *struct {
				SecretName  string `yaml:"secretName"`
				DefaultMode int    `yaml:"defaultMode"`
			}
		}
	}
}

type container struct {
	Name            string
	RestartPolicy   string `yaml:"restartPolicy"`
	SecurityContext struct {
		Privileged               bool
		RunAsUser                int   `yaml:"runAsUser"`
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
	} `yaml:"securityContext"`
	StartupProbe, ReadinessProbe, LivenessProbe any
	Args                                        []string
	VolumeMounts                                []struct {
		Name             string
		MountPath        string `yaml:"mountPath"`
		MountPropagation string `yaml:"mountPropagation"`
	} `yaml:"volumeMounts"`
}

// The pods hold together: volumes that are mounted exist, what mounts is a privileged sidecar, the app gets the mount, and the
// keys come from the secret beside them.
func TestPodsHoldTogether(t *testing.T) {
	secret, err := os.ReadFile("../../contrib/kubernetes/secret.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sidecar.yaml", "unprivileged.yaml"} {
		text, err := os.ReadFile("../../contrib/kubernetes/" + name)
		if err != nil {
			t.Fatal(err)
		}
		// The names of the two lists are written as they are in Kubernetes.
		text = []byte(strings.NewReplacer("initContainers:", "initcontainers:", "startupProbe:", "startupprobe:", "readinessProbe:", "readinessprobe:", "livenessProbe:", "livenessprobe:").Replace(string(text)))
		var p pod
		if err := yaml.Unmarshal(text, &p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p.check(t, name, string(secret))
	}
}

func (p pod) check(t *testing.T, name, secret string) {
	t.Helper()
	volumes := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		volumes[v.Name] = true
		if v.Secret != nil && (!strings.Contains(secret, "name: "+v.Secret.SecretName+"\n") || v.Secret.DefaultMode != 0o400) {
			t.Errorf("%s: %+v", name, *v.Secret)
		}
	}
	if p.Spec.TerminationGracePeriodSeconds < 60 || len(p.Spec.Containers) != 1 || len(p.Spec.InitContainers) == 0 {
		t.Fatalf("%s: %+v", name, p.Spec)
	}
	paths := map[string]string{} // propagation by container
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s: %s mounts %s, which is no volume", name, c.Name, m.Name)
			}
			if m.Name == "volume" {
				paths[c.Name] = m.MountPropagation
			}
		}
	}
	if paths["app"] != "HostToContainer" {
		t.Errorf("%s: the app does not see the mount: %v", name, paths)
	}
	for _, c := range p.Spec.InitContainers {
		mounts := paths[c.Name] == "Bidirectional"
		if c.RestartPolicy != "Always" || mounts != c.SecurityContext.Privileged {
			t.Errorf("%s: %+v", name, c)
		}
		if !mounts && (c.SecurityContext.RunAsUser != 65534 || c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation) {
			t.Errorf("%s: %s is not without privilege: %+v", name, c.Name, c.SecurityContext)
		}
		if c.Args[0] == "mount" && (c.StartupProbe == nil || c.ReadinessProbe == nil || c.LivenessProbe == nil) {
			t.Errorf("%s: %s has no probes", name, c.Name)
		}
	}
}
