// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asProgram, in the environment, makes the test binary the program itself. So
// tests run real processes without building another binary.
const asProgram = "MILLRACE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main(Options{}))
	}
	os.Exit(m.Run())
}

// result is what a command did.
type result struct {
	code     int
	out, err string
}

// call runs a command in this process.
func call(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := Main(Options{Args: args, In: strings.NewReader(stdin), Out: &out, Err: &errOut})
	return result{code, out.String(), errOut.String()}
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// golden compares with a file of testdata. It is named from the package's folder.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		write(t, file, got)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has changed (look at it, then go test -update); it is now:\n%s", filepath.Base(file), got)
	}
}

// testdata is the absolute name of a golden file, for tests that change directory.
func testdata(t *testing.T, file string) string {
	t.Helper()
	name, err := filepath.Abs(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

const desk = `name: test
topics:
  tickets: {partitions: 2, retention: 7d}
services:
  tagger:     {from: tickets, to: tags,    model: {builtin: identity}}
  classifier: {from: tags,    to: classes, model: {builtin: identity}}
gather:
  desk: {of: tickets, from: [classes], to: desk, deadline: 10m}
`

func TestHelpBeginsWithTheTask(t *testing.T) {
	for _, command := range []string{"", "run", "publish", "tail", "topics", "groups", "copy", "dead", "dead list", "dead show", "dead retry", "dead drop", "lint", "graph", "eval", "train", "version", "completion"} {
		args := []string{"--help"}
		if command != "" {
			args = append(strings.Fields(command), "--help")
		}
		got := call(t, "", args...)
		if got.code != exitOK || got.err != "" {
			t.Errorf("%s: exit code %d, %s", command, got.code, got.err)
		}
		if !strings.Contains(got.out, "Examples:\n") {
			t.Errorf("the help of %q has no example", command)
		}
		name := "help.txt"
		if command != "" {
			name = "help-" + strings.ReplaceAll(command, " ", "-") + ".txt"
		}
		golden(t, testdata(t, name), got.out)
	}
}

func TestWhatIsWrongWithACommandIsOneLineWithAHintAndExitCode2(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	write(t, "bad.yaml", strings.ReplaceAll(desk, "to: tags", "too: tags"))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"rnu"}, "millrace: there is no command \"rnu\"\n  did you mean millrace run?\n"},
		{[]string{"tail"}, "millrace: tail: an argument is missing\n  usage: millrace tail TOPIC [flags]\n"},
		{[]string{"tail", "a", "b"}, "millrace: tail: argument \"b\" is too many\n  usage: millrace tail TOPIC [flags]\n"},
		{[]string{"tail", "a", "--form=start"}, "millrace: unknown flag: --form\n  see millrace tail --help\n"},
		{[]string{"tail", "a", "--server", "http://127.0.0.1:1", "--from=soon"}, "millrace: --from: position \"soon\": write start, end, an offset (1234), a time (2026-01-31T12:00:00Z) or an age (24h, 7d)\n"},
		{[]string{"topics", "--output=xml"}, "millrace: invalid argument \"xml\" for \"--output\" flag: use table or json\n  see millrace topics --help\n"},
		{[]string{"topics"}, "millrace: which topics? There is no data directory under millrace-data\n  name a pipeline file with -p, a --data-dir, or a --server\n"},
		{[]string{"topics", "-p", "desk.yaml"}, "millrace: there is no data directory millrace-data/test: nothing has run or been published there\n  start it with millrace run, or name another place with -p, --data-dir or --server\n"},
		{[]string{"topics", "--server", "here"}, "millrace: --server \"here\" is not a URL\n  write it as http://127.0.0.1:8088\n"},
		{[]string{"topics", "--server", "http://127.0.0.1:1", "-p", "desk.yaml"}, "millrace: --server says it all: leave out -p and --data-dir\n"},
		{[]string{"run", "desk.yaml", "--only", "taggr"}, "millrace: --only: no service or gather is called \"taggr\"\n  did you mean tagger?\n"},
		{[]string{"run", "desk.yaml", "--listen", "0.0.0.0:80"}, "millrace: --listen 0.0.0.0:80 is reached from other machines, which needs a certificate and tokens\n  give --tls-cert, --tls-key and --tokens, or listen on this machine only, with --listen 127.0.0.1:PORT\n"},
		{[]string{"publish", "tickets", "none.jsonl"}, "millrace: open none.jsonl: no such file or directory\n"},
		{[]string{"completion", "tcsh"}, "millrace: invalid argument \"tcsh\" for \"millrace completion\"\n  usage: millrace completion bash|zsh|fish|powershell [flags]\n"},
	} {
		got := call(t, "", c.args...)
		if got.code != exitUsage || got.err != c.want || got.out != "" {
			t.Errorf("millrace %s: exit code %d, %q%s\nwant %q", strings.Join(c.args, " "), got.code, got.out, got.err, c.want)
		}
	}
	for _, args := range [][]string{{"run", "bad.yaml"}, {"graph", "bad.yaml"}, {"topics", "-p", "bad.yaml"}, {"run", "none.yaml"}} {
		got := call(t, "", args...)
		if got.code != exitUsage || got.out != "" || !strings.HasPrefix(lastError(got.err), "millrace: ") {
			t.Errorf("millrace %v: exit code %d, %q", args, got.code, got.err)
		}
	}
}

// lastError is the line that begins with the program's name.
func lastError(s string) string {
	return s[strings.LastIndex(s, "millrace: "):]
}

func TestAProcessThatDoesNotAnswerIsAFailure(t *testing.T) {
	got := call(t, "", "topics", "--server", "http://127.0.0.1:1")
	if got.code != exitFailed || !strings.HasPrefix(got.err, "millrace: no answer from the process: ") || !strings.Contains(got.err, "\n  is it running?") {
		t.Errorf("exit code %d, %q", got.code, got.err)
	}
}

func TestAPanicIsToldWithoutItsStackUnlessAskedFor(t *testing.T) {
	for value, want := range map[string]bool{"": false, "1": true} {
		t.Setenv(debugVariable, value)
		var errOut bytes.Buffer
		code := (&console{name: "millrace", err: &errOut}).panicked("boom", []byte("goroutine 1 [running]"))
		if code != exitFailed || !strings.HasPrefix(errOut.String(), "millrace: internal error: boom\n") {
			t.Errorf("exit code %d, %q", code, &errOut)
		}
		if got := strings.Contains(errOut.String(), "goroutine"); got != want {
			t.Errorf("with %s=%q a stack is shown: %v", debugVariable, value, got)
		}
	}
}

func TestAnErrorOfSeveralLinesIsPrintedOnOne(t *testing.T) {
	var errOut bytes.Buffer
	code := (&console{name: "millrace", err: &errOut}).report(errors.Join(errors.New("the first"), errors.New("the\tsecond")))
	if code != exitFailed || errOut.String() != "millrace: the first; the second\n" {
		t.Errorf("exit code %d, %q", code, &errOut)
	}
}

func TestLintShowsLinesCaretsAndHints(t *testing.T) {
	file := testdata(t, "lint.txt")
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	write(t, "bad.yaml", strings.NewReplacer("to: tags", "too: tags", "builtin: identity}}\ngather", "builtin: identiti}}\ngather").Replace(desk))
	write(t, "model.yaml", strings.ReplaceAll(desk, "to: classes, model: {builtin: identity}", "to: classes, model: {builtin: nearest, items: none.yaml}"))
	write(t, "go.yaml", strings.ReplaceAll(desk, "to: classes, model: {builtin: identity}", "to: classes, model: {go: urgency}"))
	got := call(t, "", "lint", "desk.yaml", "bad.yaml", "model.yaml", "go.yaml")
	if got.code != exitUsage {
		t.Errorf("exit code %d", got.code)
	}
	golden(t, file, got.out+"----\n"+got.err)

	got = call(t, "", "lint", "--output", "json", "bad.yaml")
	var problems []struct{ File, Message string }
	if err := json.Unmarshal([]byte(got.out), &problems); err != nil || len(problems) == 0 || problems[0].File != "bad.yaml" || got.code != exitUsage {
		t.Errorf("exit code %d, %s", got.code, got.out)
	}
	got = call(t, "", "lint", "--output", "json", "desk.yaml")
	if got.code != exitOK || got.out != "[]\n" {
		t.Errorf("exit code %d, %s", got.code, got.out)
	}
}

func TestLintAcceptsAModelThatComesFromGoAndRunRefusesIt(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", strings.ReplaceAll(desk, "to: classes, model: {builtin: identity}", "to: classes, model: {go: urgency}"))
	got := call(t, "", "lint", "desk.yaml")
	if got.code != exitOK || !strings.Contains(got.out, "note: model urgency comes from Go: run the file with the program") ||
		!strings.HasSuffix(got.out, "desk.yaml: no problems: 2 services, 1 gather\n") {
		t.Errorf("lint: exit code %d, %s%s", got.code, got.out, got.err)
	}
	for _, args := range [][]string{{"run", "desk.yaml"}, {"batch", "desk.yaml"}, {"run", "desk.yaml", "--only", "classifier"}} {
		got := call(t, "", args...)
		const want = "millrace: service classifier: model urgency comes from Go, and this program does not bring it\n" +
			"  run the file with the Go program that has \"urgency\" in its millrace.Models, or run other services here with --only\n"
		if got.code != exitUsage || got.err != want || got.out != "" {
			t.Errorf("%v: exit code %d\n%s%s\nwant %s", args, got.code, got.out, got.err, want)
		}
		if _, err := os.Stat("millrace-data"); err == nil {
			t.Errorf("%v: a data directory was made", args)
		}
	}
	for _, args := range [][]string{{"graph", "desk.yaml"}, {"batch", "desk.yaml", "--only", "tagger", "--result", "tags", "--output", "out.jsonl"}} {
		if got := call(t, "", args...); got.code != exitOK || strings.Contains(got.err, "comes from Go") {
			t.Errorf("%v: exit code %d, %s", args, got.code, got.err)
		}
	}
}

func TestGraphDrawsInEveryFormat(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	for format, want := range map[string]string{"text": "test: 1 source", "mermaid": "flowchart", "svg": "<svg"} {
		got := call(t, "", "graph", "desk.yaml", "--format", format)
		if got.code != exitOK || !strings.Contains(got.out, want) {
			t.Errorf("%s: exit code %d, %s%s", format, got.code, got.out, got.err)
		}
	}
	var g struct{ Nodes []any }
	got := call(t, "", "graph", "desk.yaml", "--output", "json")
	if err := json.Unmarshal([]byte(got.out), &g); err != nil || len(g.Nodes) != 7 {
		t.Errorf("%s: %v", got.out, err)
	}
}

func TestVersionTellsWhatTheProgramIsMadeOf(t *testing.T) {
	if got := call(t, "", "version"); got.code != exitOK || !regexp.MustCompile(`^millrace \S+ (\(.*\) )?go1\.\S+ \w+/\w+\n$`).MatchString(got.out) {
		t.Errorf("%q", got.out)
	}
	var v version
	if got := call(t, "", "version", "--output=json"); json.Unmarshal([]byte(got.out), &v) != nil || v.Go == "" || v.Platform == "" {
		t.Errorf("%q", got.out)
	}
}

func TestTheShellCompletesServicesTopicsAndFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	for want, args := range map[string][]string{
		"tagger\nclassifier\ndesk\n":                {"run", "desk.yaml", "--only", ""},
		"tagger,tagger\ntagger,classifier\n":        {"run", "desk.yaml", "--only", "tagger,"},
		"yaml\nyml\n":                               {"run", ""},
		"tickets\n":                                 {"publish", "-p", "desk.yaml", ""},
		"tickets\ntags\nclasses\n":                  {"tail", "-p", "desk.yaml", ""},
		"tagger\nclassifier\n":                      {"dead", "retry", "-p", "desk.yaml", ""},
		"table\njson\n":                             {"topics", "--output", ""},
		"debug\ninfo\nwarn\nerror\n":                {"run", "--log-level", ""},
		"bash\nzsh\nfish\npowershell\n":             {"completion", ""},
		"--from\tbegin here: start, end, an offset": {"tail", "--fr"},
	} {
		got := call(t, "", append([]string{"__complete"}, args...)...)
		if !strings.HasPrefix(got.out, want) {
			t.Errorf("%q completes to %q, want %q", args, got.out, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := call(t, "", "completion", shell); got.code != exitOK || !strings.Contains(got.out, "millrace") {
			t.Errorf("%s: exit code %d", shell, got.code)
		}
	}
}
