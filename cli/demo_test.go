// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/internal/demo"
	"github.com/millrace-ml/millrace/internal/screen"
)

// busyDesk is a state in which everything is to be seen.
func busyDesk() demo.State {
	ms := time.Millisecond
	service := func(name, from, to string, rate float64, lag int64, batch float64, latency time.Duration) demo.Service {
		return demo.Service{
			Status: millrace.Status{Name: name, From: []string{from}, To: to, Lag: lag, Latency: latency},
			Rate:   rate, Batch: batch, History: []int64{2, 3, 2, 0, 1, 2, 180, 1020},
		}
	}
	s := demo.State{
		Elapsed: 83 * time.Second, Rate: 2, Samples: 324, Deadline: 5 * time.Second,
		Counts: demo.Counts{Written: 2117, Complete: 1210, Partial: 9, Amended: 4}, Open: 898,
		Services: []demo.Service{
			service("sentiment", "tickets", "sentiments", 1054.3, 0, 182, 79*ms),
			service("tagger", "tickets", "tags", 271, 898, 128.4, 515*ms),
			service("embedder", "tickets", "embeddings", 99.95, 0, 9.95, 1860*time.Microsecond),
			service("classifier", "tags", "classes", 0, 0, 0, 0),
			service("keywords", "tags", "keywords", 2, 3, 1, 84*time.Microsecond),
			service("checklist", "embeddings", "checklists", 809, 465, 192, 1704*ms),
		},
		Latest: []demo.Answer{
			{
				ID: "T-1019", Text: "My mini keeps driving under the couch and then cries that its trapped.\nEvery. Day. help",
				Complete: true, Revision: 1, Latency: 16 * ms, Sentiment: "negative", Class: "help_needed",
				Products: []string{"RoboVac Mini"}, Keywords: []string{"couch", "trapped", "mini", "every day", "fifth"},
				Checklist: demo.Checklist{ID: "vac-stuck", Title: "Robot vacuum gets stuck or trapped under furniture", Score: 0.447},
			},
			{
				ID: "T-1020-2", Text: "omg my steamer arrived TODAY 😍😍", Complete: true, Revision: 2, Latency: 5 * time.Second,
				Sentiment: "positive", Class: "compliment", Keywords: []string{"steamer"},
			},
			{
				ID: "T-1018", Text: "wifi gone again", Revision: 1, Latency: 5021 * ms, Sentiment: "neutral",
				Lacking:   []demo.Lack{{Service: "classifier", Status: "missing"}, {Service: "keywords", Status: "failed", Error: "it panicked"}},
				Checklist: demo.Checklist{ID: "app-pair", Title: "Device does not pair with the app", Score: 0.61},
			},
			{
				ID: "T-1017", Text: "ok", Revision: 1, Latency: 5 * time.Second, Class: "other",
				Lacking: []demo.Lack{{Service: "checklist", Status: "missing"}, {Service: "sentiment", Status: "missing"}},
			},
		},
	}
	s.Services = append(s.Services, demo.Service{
		Status: millrace.Status{Name: "desk", Gather: true, From: []string{"a", "b", "c", "d"}, To: "desk", Latency: 674 * ms},
		Rate:   3, Batch: 295, History: []int64{1},
	})
	return s
}

func text(lines []screen.Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text() + "\n")
	}
	return b.String()
}

func TestTheDemosScreen(t *testing.T) {
	for name, v := range map[string]demoView{
		"80x24":  {State: busyDesk(), columns: 80, rows: 24},
		"120x35": {State: busyDesk(), columns: 120, rows: 35, news: demoNews{what: burstSent}, warning: "dead letter, record tickets/3/12"},
		"start":  {State: demo.State{Services: busyDesk().Services[:1], Once: true, Samples: 324}, columns: 80, rows: 24},
	} {
		lines := v.render()
		if len(lines) != v.rows {
			t.Errorf("%s: %d lines", name, len(lines))
		}
		golden(t, filepath.Join("testdata", "demo", name+".txt"), text(lines))
	}
}

func TestTheDemosScreenFitsEveryTerminal(t *testing.T) {
	for columns := 1; columns < 300; columns += 7 {
		for rows := 1; rows < 100; rows += 9 {
			lines := demoView{State: busyDesk(), columns: columns, rows: rows}.render()
			if len(lines) > rows {
				t.Fatalf("%d×%d: %d lines", columns, rows, len(lines))
			}
			for _, l := range lines {
				if l.Width() > columns {
					t.Fatalf("%d×%d: %q has %d columns", columns, rows, l.Text(), l.Width())
				}
			}
		}
	}
}

func TestTheDemoSaysWhatIsGoingOn(t *testing.T) {
	stopped := func(names ...string) func(*demoView) {
		return func(v *demoView) {
			for i := range v.Services {
				v.Services[i].Lag = 0
				for _, name := range names {
					if v.Services[i].Name == name {
						v.Services[i].Paused = true
					}
				}
			}
		}
	}
	for want, change := range map[string]func(*demoView){
		"Six models read every message":                 func(*demoView) {},
		"2000 messages at once":                         func(v *demoView) { v.news.what = burstSent },
		"let the services catch up":                     func(v *demoView) { v.news.what = burstRefused },
		"tagger is stopped. The others go on; after 5s": stopped("tagger"),
		"2 services are stopped":                        stopped("tagger", "sentiment"),
		"tagger is back and catches up":                 func(v *demoView) { v.news = demoNews{what: serviceBack, service: "tagger"} },
		"sentiment is back. Its late parts":             func(v *demoView) { v.news = demoNews{what: serviceBack, service: "sentiment"} },
		"customers are paused":                          func(v *demoView) { v.Held = true },
	} {
		v := demoView{State: busyDesk(), columns: 80, rows: 24}
		change(&v)
		l := v.sentence()
		if got := l.Text(); !strings.Contains(got, want) || l.Width() > 80 {
			t.Errorf("it says %q, want %q in 80 columns", got, want)
		}
	}
}

func TestAChartIsLogarithmicAndNewestAtTheRight(t *testing.T) {
	for _, c := range []struct {
		values []int64
		n      int
		want   string
	}{
		{[]int64{0, 2, 2000}, 5, "   ▂█"},
		{[]int64{5, 1, 15}, 2, "▂█"},
		{nil, 3, "   "},
	} {
		if got := chart(c.values, c.n); got != c.want {
			t.Errorf("chart of %v in %d: %q, want %q", c.values, c.n, got, c.want)
		}
	}
}

// The lines have the same columns whatever is in them.
func TestAnAnswerIsOneLine(t *testing.T) {
	var b strings.Builder
	for _, a := range busyDesk().Latest {
		b.WriteString(answerLine(a) + "\n")
	}
	golden(t, filepath.Join("testdata", "demo", "lines.txt"), b.String())
}

func TestWithoutATerminalTheDemoPrintsALineAnAnswerAndASummary(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	got := call(t, "", "demo", "--once", "--rate", "300")
	if got.code != exitOK || got.err != "" {
		t.Fatalf("exit code %d: %s", got.code, got.err)
	}
	if strings.Contains(got.out, "\x1b") {
		t.Error("there are escape sequences in it")
	}
	answers, summary, ok := strings.Cut(got.out, "\n\n")
	if !ok {
		t.Fatalf("there is no summary:\n%s", got.out)
	}
	answer := regexp.MustCompile(`^T-\d+ +(complete|partial|amended) .+ "`)
	seen := map[string]bool{}
	for line := range strings.Lines(answers) {
		if !answer.MatchString(line) {
			t.Errorf("line %q", line)
		}
		seen[strings.Fields(line)[0]] = true
	}
	n := len(seen)
	if want := fmt.Sprintf("%d of %d messages answered in ", n, n); n < 300 || !strings.HasPrefix(summary, want) {
		t.Errorf("%d messages have an answer; the summary is\n%s", n, summary)
	}
	for _, service := range []string{"sentiment", "tagger", "embedder", "classifier", "keywords", "checklist", "desk"} {
		if !strings.Contains(summary, "\n"+service+" ") {
			t.Errorf("the summary has no %s:\n%s", service, summary)
		}
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left in the temporary directory (%v)", left, err)
	}
}

func TestOnCtrlCTheDemoAnswersWhatWasWrittenAndSumsUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := launch(t, "demo", "--rate", "50", "--output", "json")
	type record struct {
		ID     string
		Status string
		Parts  map[string]json.RawMessage
	}
	answers, stopping := 0, make(chan int, 1)
	out := bufio.NewScanner(p.stdout)
	for out.Scan() {
		var r record
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.ID == "" || len(r.Parts) != 4 {
			t.Fatalf("%v: %s", err, out.Text())
		}
		if answers++; answers == 20 {
			go func() { stopping <- p.stop(os.Interrupt) }()
		}
	}
	if answers < 20 {
		<-p.ended
		t.Fatalf("it has ended after %d answers: %s", answers, p.logged())
	}
	if code := <-stopping; code != exitOK {
		t.Errorf("exit code %d: %s", code, p.logged())
	}
	var answered, written int
	_, summary, _ := strings.Cut("\n"+p.logged(), "\n\n")
	if _, err := fmt.Sscanf(summary, "%d of %d messages answered", &answered, &written); err != nil {
		t.Fatalf("%v: %s", err, p.logged())
	}
	if answered != written || answered > answers || answered < 20 {
		t.Errorf("%d lines; %s", answers, p.logged())
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left in the temporary directory (%v)", left, err)
	}
}

// As in millrace demo | head.
func TestWhenNobodyReadsTheDemoEndsAndCleansUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := launch(t, "demo", "--rate", "200")
	if _, err := bufio.NewReader(p.stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p.stdout.(*os.File).Close()
	<-p.ended
	_ = p.cmd.Wait() // the exit code says it
	if code := p.cmd.ProcessState.ExitCode(); code != exitOK || p.logged() != "" {
		t.Errorf("exit code %d: %s", code, p.logged())
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the temporary directory (%v)", left, err)
	}
}

func TestTheDemoRefusesAPaceThatIsNone(t *testing.T) {
	for _, rate := range []string{"0", "-1", "NaN", "1e9"} {
		if got := call(t, "", "demo", "--rate="+rate); got.code != exitUsage || !strings.Contains(got.err, "is not a pace") {
			t.Errorf("--rate %s: exit code %d: %s", rate, got.code, got.err)
		}
	}
}
