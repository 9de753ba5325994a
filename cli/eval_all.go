// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/internal/eval"
)

// evalAll measures every model.
func (c *console) evalAll(ctx context.Context, o evalOptions) error {
	if len(o.Data) > 1 {
		return usage("name the folder that holds the data sets' folders", "all measures on one folder of data sets")
	}
	s := eval.Suite{Desk: o.desk, Also: o.Also, AlsoWeight: o.AlsoWeight, Speed: o.Speed, Seed: o.Seed}
	if len(o.Data) == 1 {
		s.Public = o.Data[0]
	}
	var end func()
	s.Progress, end = c.stages()
	rows, err := s.Run(ctx)
	end()
	if err != nil {
		return evalError(ctx, err)
	}
	if c.json() {
		return c.printJSON(map[string]any{"rows": rows})
	}
	t := newTable("model", "data", "measure", ">value", ">target", "met?")
	for _, r := range rows {
		t.add(r.Model, r.Data, r.Measure, suiteFigure(r.Value, r.Unit), targetOf(r), metOf(r))
	}
	if err := t.print(c.out); err != nil {
		return err
	}
	return c.notMeasured(rows, s.Public)
}

func (c *console) notMeasured(rows []eval.Row, public string) error {
	missing := 0
	for _, r := range rows {
		if r.Value == nil {
			missing++
		}
	}
	if missing == 0 {
		return nil
	}
	where := "no folder of public data sets was named (make eval DATA=DIR)"
	if public != "" {
		where = "their data is not in " + public
	}
	fmt.Fprintf(c.err, "\n%s not measured: %s\n", plural(missing, "row"), where)
	return nil
}

func suiteFigure(v *float64, unit string) string {
	switch {
	case v == nil:
		return "–"
	case unit == eval.PerSecond:
		return rate(*v)
	case unit == eval.PerText:
		return figure(*v)
	}
	return score(*v)
}

func targetOf(r eval.Row) string {
	if r.AtLeast == nil {
		return ""
	}
	return "≥ " + figure(*r.AtLeast)
}

func metOf(r eval.Row) string {
	if r.Met == nil {
		return ""
	}
	if *r.Met {
		return "yes"
	}
	return "NO"
}
