// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// instructions are those of a Dockerfile, one a line.
func instructions(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all
}

// The image's commands are those that build the program here: what the Dockerfile
// runs is run, with another folder in place of /out, but for the download of modules.
func TestTheDockerfilesCommandsBuildAStaticProgram(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("builds the program for Linux")
	}
	out := t.TempDir()
	for _, line := range instructions(t, filepath.Join(root, "Dockerfile")) {
		command, is := strings.CutPrefix(line, "RUN ")
		if !is || command == "go mod download" {
			continue
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", strings.ReplaceAll(command, "/out", out))
		cmd.Dir = root
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, text)
		}
	}
	program := filepath.Join(out, "millrace")
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program needs a loader, which the image has not")
		}
	}
	// The image has no more than this: no shell, no home, no settings.
	cmd := exec.CommandContext(t.Context(), program, "version")
	cmd.Env, cmd.Dir = []string{}, filepath.Join(out, "data")
	if text, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(text), "millrace ") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestTheImageIsBuiltWithCare(t *testing.T) {
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)[1]
	var last, made []string // instructions of the last stage; paths in it
	user := ""
	for _, line := range instructions(t, filepath.Join(root, "Dockerfile")) {
		name, rest, _ := strings.Cut(line, " ")
		switch name {
		case "FROM":
			last, made, user = nil, nil, ""
			if image, is := strings.CutPrefix(rest, "golang:"); is && !strings.HasPrefix(image, string(version)+" ") {
				t.Errorf("go.mod asks for Go %s, the image has %s", version, image)
			}
		case "COPY":
			fields := strings.Fields(rest)
			made = append(made, fields[len(fields)-1])
		case "USER":
			user = rest
		case "ADD":
			t.Errorf("%s: use COPY", line)
		}
		last = append(last, line)
	}
	if !regexp.MustCompile(`^[1-9]\d+:[1-9]\d+$`).MatchString(user) {
		t.Errorf("the program runs as %q: it must be a number that is not root's, as there is no list of users", user)
	}
	stage := strings.Join(last, "\n")
	for _, want := range []string{"VOLUME /data", "STOPSIGNAL SIGTERM"} {
		if !strings.Contains(stage, want) {
			t.Errorf("the last stage lacks %s", want)
		}
	}
	entry := regexp.MustCompile(`ENTRYPOINT \["([^"]+)"\]`).FindStringSubmatch(stage)
	if entry == nil || !strings.Contains(strings.Join(made, " "), entry[1]) {
		t.Errorf("the program that is run is none that was copied: %v of %v", entry, made)
	}
}
