// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/model/builtin"
	"github.com/millrace-ml/millrace/model/gomodel"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/pipeline/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

func known() []pipeline.Option {
	return []pipeline.Option{pipeline.WithKinds(builtin.Kind(), gomodel.Kind(nil)), pipeline.WithModels("urgency")}
}

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
	files, err := filepath.Glob("../testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, problems := pipeline.Check(filepath.Base(file), data, testEnv, known()...)
			if len(problems) == 0 {
				t.Fatal("no problem was found")
			}
			if (p == nil) != (problems.Errors() > 0) {
				t.Errorf("pipeline is nil: %v, but there are %d errors", p == nil, problems.Errors())
			}
			var shown bytes.Buffer
			if err := report.Write(&shown, problems, false); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", shown.Bytes())
			for _, text := range []string{shown.String(), problems.Error()} {
				if strings.Contains(text, password) {
					t.Errorf("the report tells the value of a variable:\n%s", text)
				}
			}
		})
	}
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

func TestAnEscapeSequenceOfTheFileDoesNotReachTheTerminal(t *testing.T) {
	for _, text := range []string{"name: \"\x1b[31m\x1b]0;x\x07\"\n", "name: \xff\x1b[31m", "\x1b[31m: 1\n"} {
		_, problems := pipeline.Check("p.yaml", []byte(text), nil)
		var shown strings.Builder
		if err := report.Write(&shown, problems, false); err != nil {
			t.Fatal(err)
		}
		if shown.Len() == 0 || strings.ContainsRune(shown.String(), 0x1b) {
			t.Errorf("%q is shown as %q", text, shown.String())
		}
	}
}

func TestColoursAreUsedOnlyWhenAskedFor(t *testing.T) {
	problems := pipeline.Problems{{File: "p.yaml", Line: 1, Column: 3, Severity: pipeline.Warning, Message: "odd", Source: "a: b"}, {Path: "services.a", Severity: pipeline.Note, Message: "fine"}}
	for colour, want := range map[bool]string{
		false: "p.yaml:1:3: warning: odd\n  1 | a: b\n    |   ^\nservices.a: note: fine\n",
		true: "\x1b[1mp.yaml:1:3: \x1b[0m\x1b[1;33mwarning:\x1b[0m \x1b[1modd\x1b[0m\n  \x1b[34m1 |\x1b[0m a: b\n  \x1b[34m  |\x1b[0m   \x1b[1;31m^\x1b[0m\n" +
			"\x1b[1mservices.a: \x1b[0m\x1b[34mnote:\x1b[0m \x1b[1mfine\x1b[0m\n",
	} {
		var shown strings.Builder
		if err := report.Write(&shown, problems, colour); err != nil {
			t.Fatal(err)
		}
		if shown.String() != want {
			t.Errorf("colour %v:\n%q\nwant\n%q", colour, shown.String(), want)
		}
	}
}

func TestALongReportIsCutInEachLine(t *testing.T) {
	_, problems := pipeline.Check("p.yaml", []byte("name: "+strings.Repeat("x", pipeline.MaxFileBytes-10)), nil)
	var shown strings.Builder
	if err := report.Write(&shown, problems, false); err != nil {
		t.Fatal(err)
	}
	if shown.Len() == 0 || shown.Len() > 10_000 {
		t.Errorf("the report has %d bytes", shown.Len())
	}
}
