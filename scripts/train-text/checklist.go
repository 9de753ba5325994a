// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/text/embed"
	"github.com/millrace-ml/millrace/text/metrics"
	"github.com/millrace-ml/millrace/text/nearest"
)

// measureChecklist prints how well the right checklist is found by similarity
// alone and by a learned index. There are no weights to write: the pipeline's
// model learns when it starts.
func measureChecklist(ctx context.Context, desk string, messages []message) error {
	index, places, err := readChecklists(filepath.Join(desk, "checklists.yaml"))
	if err != nil {
		return err
	}
	examples := make([]nearest.Example, len(messages))
	for i, m := range messages {
		e := nearest.Example{Vector: make([]float32, embed.Default().Dim()), Item: nearest.None, Group: m.group}
		embed.Default().Embed(e.Vector, m.Text)
		if m.Checklist != nil {
			e.Item = places[*m.Checklist]
		}
		examples[i] = e
	}
	var plain metrics.Ranking
	for _, e := range examples {
		if e.Item != nearest.None {
			matches := index.Search(nil, e.Vector, index.Len())
			plain.Add(slices.IndexFunc(matches, func(m nearest.Match) bool { return m.Item == e.Item }))
		}
	}
	fmt.Printf("checklist, by similarity: %d messages, first %.3f, among three %.3f\n", plain.Total(), plain.RecallAt(1), plain.RecallAt(3))
	held, err := index.CrossValidate(ctx, examples, 5)
	if err != nil {
		return err
	}
	reportLearned(examples, held)
	return nil
}

func reportLearned(examples []nearest.Example, held []nearest.Held) {
	var all metrics.Ranking
	for _, h := range held {
		if item := examples[h.Example].Item; item != nearest.None {
			all.Add(slices.Index(h.Ranks, item))
		}
	}
	fmt.Printf("checklist, learned: %d messages, first %.3f, among three %.3f\n", all.Total(), all.RecallAt(1), all.RecallAt(3))
	for _, certainty := range []float64{0.3, 0.5, 0.7, 0.8, 0.9, 0.95} {
		var none, abstained, answered int
		var found metrics.Ranking
		for _, h := range held {
			item, fits := examples[h.Example].Item, h.Fits >= certainty
			switch {
			case item == nearest.None && !fits:
				none, abstained = none+1, abstained+1
			case item == nearest.None:
				none++
			case fits:
				answered++
				found.Add(slices.Index(h.Ranks, item))
			}
		}
		fmt.Printf("  certainty %.2f: abstains on %.3f of %d that need none; answers %.3f of %d that need one, first %.3f, among three %.3f of those\n",
			certainty, float64(abstained)/float64(none), none,
			float64(answered)/float64(all.Total()), all.Total(), found.RecallAt(1), found.RecallAt(3))
	}
}

func readChecklists(path string) (*nearest.Index, map[string]int, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var checklists []struct {
		ID, Title       string
		Symptoms, Steps []string
	}
	if err := yaml.Unmarshal(content, &checklists); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	items := make([]nearest.Item, len(checklists))
	places := map[string]int{}
	for i, c := range checklists {
		items[i] = nearest.Describe(embed.Default(), c.ID, c.Title, c.Symptoms, c.Steps)
		places[c.ID] = i
	}
	o := nearest.DefaultOptions()
	o.Threshold = -1
	index, err := nearest.New(items, embed.Default().Dim(), o)
	return index, places, err
}
