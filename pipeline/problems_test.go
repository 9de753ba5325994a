// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// builtins are the models that the tests know.
var builtins = []string{"sentiment", "tagger", "embedder", "classifier", "keywords", "nearest", "identity"}

// password is what ${PASSWORD} and ${SECRET_WORD} stand for in tests. Nothing
// that is printed may contain it.
const password = "hunter 2/2"

func testEnv(name string) (string, bool) {
	switch name {
	case "PASSWORD", "SECRET_WORD":
		return password, true
	case "EMPTY":
		return "", true
	}
	return "", false
}

// Each file of testdata/bad has a .txt beside it with the report that a person
// reads. After a change, go test -update writes them anew; read the difference.
func TestReportOfBadFiles(t *testing.T) {
	for _, file := range glob(t, "testdata/bad/*.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, problems := Check(filepath.Base(file), data, testEnv, Known{Builtins: builtins})
			if len(problems) == 0 {
				t.Fatal("no problem was found")
			}
			if (p == nil) != (problems.Errors() > 0) {
				t.Errorf("pipeline is nil: %v, but there are %d errors", p == nil, problems.Errors())
			}
			var report bytes.Buffer
			if err := problems.Print(&report, false); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", report.Bytes())
			for _, text := range []string{report.String(), problems.Error()} {
				if strings.Contains(text, password) {
					t.Errorf("the report tells the value of a variable:\n%s", text)
				}
			}
		})
	}
}

func TestGoodFilesHaveNoErrors(t *testing.T) {
	for _, file := range append(glob(t, "testdata/good/*.yaml"), glob(t, "../examples/*/pipeline.yaml")...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, problems := Check(file, data, testEnv, Known{Builtins: builtins})
		if p == nil || problems.Errors() > 0 {
			t.Errorf("%v", problems)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := globFiles(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has changed; it is now:\n%s", file, got)
	}
}

func TestAProblemDoesNotShowAPassword(t *testing.T) {
	_, problems := Check("p.yaml", []byte("name: x\nbrokr: redis://ann:hunt@er2@host:6379\n"), nil, Known{})
	var printed bytes.Buffer
	if err := problems.Print(&printed, false); err != nil {
		t.Fatal(err)
	}
	machine, err := json.Marshal(problems)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{printed.String(), string(machine)} {
		if !strings.Contains(s, "redis://ann:********@host:6379") || strings.Contains(s, "hunt") {
			t.Errorf("it shows %s", s)
		}
	}
}
