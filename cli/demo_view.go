// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/internal/demo"
	"github.com/millrace-ml/millrace/internal/screen"
)

// demoView is all that the demo's screen depends on. Rendering it is a pure
// function.
type demoView struct {
	demo.State
	news          demoNews
	warning       string
	columns, rows int
}

// widest is where wider screens stop to help.
const widest = 140

// render makes the screen's lines: what happens, the services, the answers, the keys.
func (v demoView) render() []screen.Line {
	full := v.columns
	v.columns = min(full, widest)
	top := []screen.Line{v.title(), v.sentence(), {}}
	top = append(top, v.services()...)
	top = append(top, v.joined(), screen.Line{})
	bottom := []screen.Line{{}, v.keys()}
	if v.warning != "" {
		bottom[0].Add(screen.Red, " ! "+v.warning)
	}
	room := max(0, v.rows-len(top)-len(bottom))
	lines := append(top, v.answers(room)...)
	lines = lines[:min(len(lines), max(0, v.rows-len(bottom)))]
	for len(lines) < v.rows-len(bottom) {
		lines = append(lines, screen.Line{})
	}
	lines = append(lines, bottom...)
	for i := range lines {
		lines[i].Clip(full)
	}
	return lines[:min(len(lines), v.rows)]
}

func (v demoView) title() screen.Line {
	var l screen.Line
	l.Add(screen.Bold, " Millrace").Add(screen.Faint, " · the support desk")
	elapsed := v.Elapsed.Round(time.Second)
	right := fmt.Sprintf("%d messages · %d:%02d ", v.Written, int(elapsed.Minutes()), int(elapsed.Seconds())%60)
	if v.Once {
		right = fmt.Sprintf("%d of %d messages · %d:%02d ", v.Written, v.Samples, int(elapsed.Minutes()), int(elapsed.Seconds())%60)
	}
	return *l.Right(v.columns, screen.Faint, right)
}

// sentence says in one line what is going on.
func (v demoView) sentence() screen.Line {
	var paused []string
	behind := false
	for _, s := range v.Services {
		if s.Paused {
			paused = append(paused, s.Name)
		}
		behind = behind || s.Lag > 0 && s.Name == v.news.service
	}
	style := screen.Yellow
	var text string
	switch {
	case v.news.what == burstRefused:
		text = "Enough for now: let the services catch up before the next burst."
	case len(paused) == 1:
		text = fmt.Sprintf("%s is stopped. The others go on; after %v the answer goes without it.", paused[0], v.Deadline)
	case len(paused) > 1:
		text = fmt.Sprintf("%d services are stopped. Answers go without their parts after %v.", len(paused), v.Deadline)
	case v.news.what == serviceBack && behind:
		text = v.news.service + " is back and catches up on what waited for it."
	case v.news.what == serviceBack && v.Amended == 0:
		text = v.news.service + " is back."
	case v.news.what == serviceBack:
		text = v.news.service + " is back. Its late parts have amended the answers that went without."
	case v.news.what == burstSent:
		text = fmt.Sprintf("%d messages at once: queues (lag) grow, batches fill, all are answered.", demoBurst)
	case v.Held:
		text = "The customers are paused. Press p to let them write again."
	default:
		style, text = screen.Plain, "Six models read every message at their own pace; a gather joins what they say."
	}
	return *new(screen.Line).Add(style, " "+text)
}

// nameWidth is where the column after the names begins.
const nameWidth = 15

// serviceColumns says where the columns of the services' figures end, and where their
// chart begins and how many steps it has.
type serviceColumns struct {
	rate, lag, batch, latency int
	chart, steps              int
}

func (v demoView) columnsOf() serviceColumns {
	t := serviceColumns{rate: 45, lag: 51, batch: 58, latency: 67, chart: 69}
	if v.columns >= 100 {
		t = serviceColumns{rate: 51, lag: 59, batch: 67, latency: 78, chart: 81}
	}
	t.steps = max(0, min(60, v.columns-t.chart-1))
	return t
}

func (v demoView) services() []screen.Line {
	t := v.columnsOf()
	var head screen.Line
	head.Add(screen.Faint, " SERVICE").To(nameWidth).Add(screen.Faint, "READS → WRITES")
	head.Right(t.rate, screen.Faint, "RATE/S").Right(t.lag, screen.Faint, "LAG").Right(t.batch, screen.Faint, "BATCH").Right(t.latency, screen.Faint, "LATENCY")
	head.To(t.chart).Add(screen.Faint, screen.Clip(fmt.Sprintf("LAST %d S", t.steps), t.steps))
	lines := []screen.Line{head}
	for i, s := range v.Services {
		lines = append(lines, serviceRow(i, s, t))
	}
	return lines
}

func serviceRow(i int, s demo.Service, t serviceColumns) screen.Line {
	var l screen.Line
	number := " "
	if !s.Gather {
		number = fmt.Sprint(i + 1)
	}
	l.Add(screen.Faint, " "+number+" ").Add(screen.Bold, s.Name).To(nameWidth)
	l.Add(screen.Cyan, reads(s)).Add(screen.Faint, " → ").Add(screen.Cyan, s.To)
	if s.Paused {
		l.Right(t.rate, screen.Red, "stopped")
	} else {
		l.Right(t.rate, screen.Plain, perSecond(s.Rate))
	}
	lag := screen.Faint
	if s.Lag > 0 {
		lag = screen.Yellow
	}
	l.Right(t.lag, lag, fmt.Sprint(s.Lag))
	l.Right(t.batch, screen.Plain, batchSize(s.Batch))
	l.Right(t.latency, screen.Plain, latency(s.Latency))
	return *l.To(t.chart).Add(screen.Green, chart(s.History, t.steps))
}

func perSecond(rate float64) string {
	if rate < 100 {
		return fmt.Sprintf("%.1f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

func batchSize(mean float64) string {
	switch {
	case mean == 0:
		return "-"
	case mean < 10:
		return fmt.Sprintf("%.1f", mean)
	}
	return fmt.Sprintf("%.0f", mean)
}

// chart draws the newest n values as bars, the newest at the right. Its scale is
// logarithmic, or a burst would flatten everything before it.
func chart(values []int64, n int) string {
	const bars = "▁▂▃▄▅▆▇█"
	if len(values) > n {
		values = values[len(values)-n:]
	}
	top := int64(15) // so that a few a second are low
	for _, v := range values {
		top = max(top, v)
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", n-len(values)))
	for _, v := range values {
		if v <= 0 {
			b.WriteByte(' ')
			continue
		}
		at := int(math.Log2(1+float64(v)) / math.Log2(1+float64(top)) * 7.99)
		b.WriteString(string([]rune(bars)[at]))
	}
	return b.String()
}

// joined sums up the gather.
func (v demoView) joined() screen.Line {
	var l screen.Line
	l.To(nameWidth).Add(screen.Green, fmt.Sprint(v.Complete)).Add(screen.Faint, " complete")
	if v.Partial > 0 {
		l.Add(screen.Faint, " · ").Add(screen.Yellow, fmt.Sprint(v.Partial)).Add(screen.Faint, " partial")
	}
	if v.Amended > 0 {
		l.Add(screen.Faint, " · ").Add(screen.Plain, fmt.Sprint(v.Amended)).Add(screen.Faint, " amended")
	}
	if v.Open > 0 {
		l.Add(screen.Faint, " · ").Add(screen.Plain, fmt.Sprint(v.Open)).Add(screen.Faint, " waiting")
	}
	return l
}

func (v demoView) keys() screen.Line {
	var l screen.Line
	key := func(name, does string) {
		if l.Width() > 0 {
			l.Add(screen.Faint, "  ")
		}
		l.Add(screen.Bold, " "+name).Add(screen.Faint, " "+does)
	}
	key("space", fmt.Sprintf("burst of %d", demoBurst))
	key("1-6", "stop or start a service")
	if v.Held {
		key("p", "go on")
	} else {
		key("p", "pause")
	}
	key("q", "quit")
	return l
}

// answers are the latest answers in at most so many lines.
func (v demoView) answers(room int) []screen.Line {
	roomy := room >= 16
	var lines []screen.Line
	if roomy {
		lines = append(lines, *new(screen.Line).Add(screen.Faint, " LATEST ANSWERS"))
	}
	if len(v.Latest) == 0 {
		return append(lines, *new(screen.Line).Add(screen.Faint, " The first customer is writing …"))
	}
	for _, a := range v.Latest {
		entry := v.answer(a)
		if len(lines)+len(entry) > room {
			break
		}
		lines = append(lines, entry...)
		if roomy {
			lines = append(lines, screen.Line{})
		}
	}
	return lines
}

// answer is an answer as a person at the desk sees it: the message, what it is,
// and what may help.
func (v demoView) answer(a demo.Answer) []screen.Line {
	mark, style := sentimentMark(a.Sentiment)
	right := fmt.Sprintf("%s  %8s ", a.ID, outcome(a))
	width := v.columns - 3 - screen.Width(right) - 2

	lines := make([]screen.Line, 0, 3)
	text := `"` + strings.Join(strings.Fields(a.Text), " ") + `"`
	if n := screen.Width(text); n > width {
		text = screen.Clip(text[:len(text)-1], width-1) + `"`
	}
	var first screen.Line
	first.Add(style, " "+mark+" ").Add(screen.Plain, text)
	status := screen.Faint
	if !a.Complete {
		status = screen.Yellow
	}
	lines = append(lines, *first.Right(v.columns, status, right))

	var what screen.Line
	what.To(3)
	v.part(&what, a, "sentiment", a.Sentiment, style)
	what.To(max(17, what.Width()+2))
	v.part(&what, a, "classifier", strings.ReplaceAll(a.Class, "_", " "), screen.Bold)
	what.To(max(32, what.Width()+2))
	v.part(&what, a, "keywords", subject(a, 4), screen.Plain)
	lines = append(lines, what)

	var help screen.Line
	help.To(3)
	if a.Checklist.Title == "" && !a.Lacks("checklist") {
		return append(lines, *help.Add(screen.Faint, "no checklist fits"))
	}
	help.Add(screen.Cyan, "→ ")
	v.part(&help, a, "checklist", a.Checklist.Title, screen.Cyan)
	if a.Checklist.Title != "" {
		help.Add(screen.Faint, fmt.Sprintf("  %.2f", a.Checklist.Score))
	}
	return append(lines, help)
}

// outcome is how long an answer took, or why it took longer.
func outcome(a demo.Answer) string {
	switch {
	case !a.Complete:
		return "partial"
	case a.Revision > 1:
		return "amended"
	}
	return latency(a.Latency)
}

// part adds a part of an answer, or says that it is not there.
func (v demoView) part(l *screen.Line, a demo.Answer, service, text string, style screen.Style) {
	for _, lack := range a.Lacking {
		if lack.Service == service {
			l.Add(screen.Yellow, lackText(lack))
			return
		}
	}
	if text == "" {
		l.Add(screen.Faint, "–")
		return
	}
	l.Add(style, text)
}

// lackText says what an answer goes without.
func lackText(l demo.Lack) string {
	what := l.Service
	if what == "classifier" {
		what = "class"
	}
	if l.Status == "failed" {
		return what + " failed"
	}
	return "no " + what
}

// sentimentMark is a mark that tells a sentiment by colour and by shape.
func sentimentMark(sentiment string) (string, screen.Style) {
	switch sentiment {
	case "positive":
		return "▲", screen.Green
	case "negative":
		return "▼", screen.Red
	case "neutral":
		return "●", screen.Faint
	}
	return "?", screen.Yellow
}
