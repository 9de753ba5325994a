// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/internal/demo"
	"github.com/millrace-ml/millrace/internal/screen"
)

// answerLine is an answer on one line, in columns:
//
//	T-1002    complete  negative  help_needed    vac-wont-charge 0.62    RoboVac Mini: turn on  "mini wont turn on"
func answerLine(a demo.Answer) string {
	var l screen.Line
	add := func(width int, text string) {
		l.Add(screen.Plain, text).To(max(l.Width()+2, width))
	}
	status := "complete"
	if !a.Complete {
		status = "partial"
	}
	if a.Revision > 1 {
		status = "amended"
	}
	add(10, a.ID)
	add(20, status)
	add(30, partText(a, "sentiment", a.Sentiment))
	add(45, partText(a, "classifier", a.Class))
	add(70, partText(a, "checklist", checklistText(a.Checklist)))
	add(95, partText(a, "keywords", subject(a, 3)))
	l.Add(screen.Plain, `"`+strings.Join(strings.Fields(a.Text), " ")+`"`)
	return l.Text()
}

// partText is a part's text, or why there is none.
func partText(a demo.Answer, service, text string) string {
	for _, lack := range a.Lacking {
		if lack.Service == service {
			return lack.Status
		}
	}
	if text == "" {
		return "-"
	}
	return text
}

func checklistText(c demo.Checklist) string {
	if c.ID == "" {
		return ""
	}
	return fmt.Sprintf("%s %.2f", c.ID, c.Score)
}

// subject is what a message is about: its products and at most n keywords.
func subject(a demo.Answer, n int) string {
	products := strings.Join(a.Products, ", ")
	keywords := strings.Join(a.Keywords[:min(n, len(a.Keywords))], ", ")
	if products == "" || keywords == "" {
		return products + keywords
	}
	return products + ": " + keywords
}

// printSummary prints what was done.
func printSummary(w io.Writer, s demo.State) error {
	answered := s.Complete + s.Partial
	fmt.Fprintf(w, "\n%d of %s answered in %s: %d complete, %d partial", answered, plural(int(s.Written), "message"),
		s.Elapsed.Round(time.Second/10), s.Complete, s.Partial)
	if s.Amended > 0 {
		fmt.Fprintf(w, "; %d amended by parts that came late", s.Amended)
	}
	fmt.Fprintln(w)
	if answered > 0 {
		fmt.Fprintf(w, "from message to answer: %s at the median, %s at the 99th percentile\n",
			latency(s.Latencies.Quantile(0.5)), latency(s.Latencies.Quantile(0.99)))
	}
	fmt.Fprintln(w)
	t := newTable("SERVICE", ">RECORDS", ">BATCHES", ">MEAN BATCH", ">MODEL/RECORD", ">DEAD LETTERS", ">LEFT")
	for _, s := range s.Services {
		inModel, dead := eachRecord(s.Predict, s.Records), fmt.Sprint(s.Failed)
		if s.Gather {
			inModel, dead = "", ""
		}
		t.add(s.Name, fmt.Sprint(s.Records), fmt.Sprint(s.Batches), mean(s.Records, s.Batches), inModel, dead, fmt.Sprint(s.Lag))
	}
	return t.print(w)
}

func reads(s demo.Service) string {
	if s.Gather {
		return plural(len(s.From), "part")
	}
	return strings.Join(s.From, ", ")
}

func mean(sum, n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(sum)/float64(n))
}

// eachRecord is how long a model takes for a record.
func eachRecord(all time.Duration, records int64) string {
	if records == 0 {
		return "-"
	}
	return latency(all / time.Duration(records))
}

// latency is a duration for people, with two digits or so.
func latency(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
