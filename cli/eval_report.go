// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/millrace-ml/millrace/internal/eval"
	"github.com/millrace-ml/millrace/internal/sanitize"
)

// counted is "1,603 texts".
func counted(n int, unit string) string {
	if n == 1 {
		unit = strings.TrimSuffix(unit, "s")
	}
	return whole(n) + " " + unit
}

// whole is a number with commas.
func whole(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return figure(float64(n))
}

// smallConfusion is the number of labels up to which a confusion matrix is shown
// unasked.
const smallConfusion = 8

func (c *console) printReport(r *eval.Report, confusion bool) error {
	if c.json() {
		return c.printJSON(r)
	}
	fmt.Fprintf(c.out, "%s on %s of %s\n%s\n\n", r.Model, counted(r.Items, r.Unit), strings.Join(r.Data, ", "), r.Method)
	t := newTable("measure", ">value", "of")
	for _, m := range r.Measures {
		of := ""
		if m.Of > 0 {
			of = whole(m.Of)
		}
		t.add(m.Name, score(m.Value), of)
	}
	if s := r.Speed; s != nil {
		t.add("speed", rate(s.PerSecond), s.Unit+"/s on one core, "+s.Of)
		t.add("allocations", figure(s.Allocations), "a text")
	}
	if err := t.print(c.out); err != nil {
		return err
	}
	if err := c.printClasses(r); err != nil {
		return err
	}
	if r.Confusion != nil && (confusion || len(r.Confusion.Labels) <= smallConfusion) {
		return c.printConfusion(r.Confusion)
	}
	return nil
}

func (c *console) printClasses(r *eval.Report) error {
	if len(r.Classes) == 0 {
		return nil
	}
	fmt.Fprintln(c.out)
	t := newTable("label", ">precision", ">recall", ">F1", ">support")
	for _, class := range r.Classes {
		t.add(sanitize.Terminal(class.Label), score(class.Precision), score(class.Recall), score(class.F1), whole(class.Support))
	}
	return t.print(c.out)
}

func (c *console) printConfusion(m *eval.Confusion) error {
	titles := []string{"truth \\ answer"}
	for _, label := range m.Labels {
		titles = append(titles, ">"+sanitize.Terminal(label))
	}
	t := newTable(titles...)
	for i, row := range m.Counts {
		cells := []string{sanitize.Terminal(m.Labels[i])}
		for _, n := range row {
			cells = append(cells, fmt.Sprint(n))
		}
		t.add(cells...)
	}
	fmt.Fprintln(c.out)
	return t.print(c.out)
}

// score is a figure between 0 and 1, or a little above.
func score(v float64) string { return fmt.Sprintf("%.4f", v) }

// rate is a speed with three digits that mean something.
func rate(v float64) string {
	step := 1.0
	for v/step >= 1000 {
		step *= 10
	}
	return figure(float64(int(v/step)) * step)
}
