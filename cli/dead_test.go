// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/gateway"
)

// What comes from customers and models is printed so that it cannot steer a
// terminal, and long texts do not tear the table.
func TestDeadLettersAsPeopleReadThem(t *testing.T) {
	failed := time.Date(2026, 1, 31, 12, 0, 0, 0, time.Local)
	decided := failed.Add(time.Hour)
	letters := []deadletter.Letter{
		{ID: "sentiment.dead/3/17", Service: "sentiment", State: deadletter.Open, Time: failed, Key: "c-017", Record: "tickets/3/1234",
			Topic: "sentiment.dead", Partition: 3, Offset: 17, Model: "sentiment@1", Attempts: 3, Error: "the model panicked:\nindex out of range\x1b[31m"},
		{ID: "tagger.dead/0/1767870000123000045", Service: "tagger", State: deadletter.Dropped, Decided: &decided, Time: failed,
			Key: strings.Repeat("long key ", 9), Record: "tickets/0/1767870000100000000", Model: "tagger@1", Attempts: 1, Error: strings.Repeat("too much ", 99)},
	}
	var out, errOut bytes.Buffer
	c := &console{out: &out, err: &errOut}
	if err := c.printLetters(deadletter.Listing{Letters: letters, Total: 7}); err != nil {
		t.Fatal(err)
	}
	golden(t, testdata(t, "dead-list.txt"), out.String())
	if want := "these are the newest 2 of 7 letters: --max lists more\n"; errOut.String() != want {
		t.Errorf("beside the table it prints %q", errOut.String())
	}

	out.Reset()
	for _, l := range []gateway.DeadLetter{
		{Letter: letters[0], Stack: "goroutine 7 [running]:\nmain.f()\n\t/src/f.go:12\n", Original: gateway.Record{
			Headers: gateway.Headers{{Key: "tenant", Value: []byte("a\x07b")}}, Value: json.RawMessage(`{"id":"T-1","text":"\u001b[2J"}`)}},
		{Letter: letters[1], Original: gateway.NewRecord(&broker.Record{Value: []byte("two\nlines\x1b[2J")})},
		{Letter: letters[1], Original: gateway.NewRecord(&broker.Record{Value: []byte{0xff, 0x00}})},
		{Letter: letters[1], Cut: true},
	} {
		l.Original.Key = gateway.Text(l.Key) // all of it, where a listing cuts it
		if err := c.printLetter(l); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
	}
	golden(t, testdata(t, "dead-show.txt"), out.String())
}

func TestWhatADeadCommandDoesNotTake(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	must(t, `{"text":"one"}`, "publish", "-p", "desk.yaml", "tickets")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"dead retry", exitUsage, "which letters?\n  name letters as millrace dead list shows them, or services, or take --all"},
		{"dead retry tagger --all", exitUsage, "--all takes all open letters: leave out the names or --all"},
		{"dead drop tagger tagger.dead/0/1", exitUsage, "name letters or services, not both"},
		{"dead list --max 0", exitUsage, "--max is a number from 1 to 10000"},
		{"dead list taggr", exitUsage, "there is no service \"taggr\"\n  did you mean tagger?"},
		{"dead show tagger.dead/0/1", exitUsage, "there is no dead letter \"tagger.dead/0/1\"\n  millrace dead list tells the letters' ids"},
		{"dead show tickets/0/0", exitUsage, "there is no dead letter \"tickets/0/0\""},
		{"dead retry tagger --yes", exitOK, "nothing was tried again: no open letter is meant"},
		{"dead drop --all", exitOK, "nothing was dropped: no open letter is meant"},
	} {
		got := call(t, "", append(strings.Fields(c.args), "-p", "desk.yaml")...)
		if got.code != c.code || !strings.Contains(got.err, c.want) {
			t.Errorf("%s: exit code %d, %s", c.args, got.code, got.err)
		}
	}
	if got := call(t, "", "dead", "lst"); got.code != exitUsage || !strings.Contains(got.err, "did you mean millrace dead list?") {
		t.Errorf("an unknown command: exit code %d, %s", got.code, got.err)
	}
	// A data directory does not tell which models there are.
	got := call(t, "", "dead", "retry", "tagger", "--yes", "--data-dir", "millrace-data/test")
	if want := "without their pipeline's models\n  name the pipeline file with -p"; got.code != exitFailed || !strings.Contains(got.err, want) {
		t.Errorf("without a pipeline file: exit code %d, %s", got.code, got.err)
	}
}

// What is printed of a value is not much longer than the value: the indent of a
// deep one would be.
func TestADeepValueIsPrintedInBoundedRoom(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("1,", 20_000) + "1" + strings.Repeat("]", 200)
	r := gateway.NewRecord(&broker.Record{Value: []byte(deep)})
	var out strings.Builder
	if err := printValue(&out, &r); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 2*len(deep) {
		t.Errorf("a value of %d bytes is printed as %d", len(deep), out.Len())
	}
}
