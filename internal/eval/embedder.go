// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sort"

	"github.com/millrace-ml/millrace/text/embed"
	"github.com/millrace-ml/millrace/text/linear"
	"github.com/millrace-ml/millrace/text/metrics"
)

// Names of the embedder's measures.
const (
	TopOne   = "top 1"
	TopThree = "top 3"
)

// defaultHoldout is the share of each label on which the embedder is measured.
const defaultHoldout = 0.2

// runEmbedder measures how well vectors tell labels apart: the texts of a label
// that are not held out have a mean, and a held-out text should be nearest to
// that of its own label.
func runEmbedder(ctx context.Context, c *Config) (*Report, error) {
	c.stage("reading")
	rows, err := readLabelled(c.Data, c)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(l labelled) bool { return l.label == "" })
	if len(rows) == 0 {
		return nil, wrong("name the column with --label", "%s: no text has a label", c.Data[0])
	}
	if err := twoLabels(rows); err != nil {
		return nil, err
	}
	m, method, err := c.embedder()
	if err != nil {
		return nil, err
	}
	if !c.trains() {
		c.Holdout = defaultHoldout
	}
	r, err := c.centroids(ctx, m, rows)
	if err != nil {
		return nil, err
	}
	r.Method = fmt.Sprintf("nearest centroid of the rest's labels, measured on %s; %s", c.heldOut(), method)
	vector := make([]float32, m.Dim())
	r.Speed, err = clock(ctx, c, len(rows), "texts", "embedding", func(from, to int) int {
		for i := from; i < to; i++ {
			m.Embed(vector, rows[i].text)
		}
		return to - from
	})
	return r, err
}

func (c *Config) embedder() (*embed.Model, string, error) {
	if c.Weights == "" {
		return embed.Default(), ownWeights, nil
	}
	data, err := readWeights(c.Weights)
	if err != nil {
		return nil, "", err
	}
	m, err := embed.Read(data)
	if err != nil {
		return nil, "", wrong("name a file that "+embedderScript+" made", "%s: %w", c.Weights, err)
	}
	return m, "weights of " + filepath.ToSlash(c.Weights), nil
}

func (c *Config) centroids(ctx context.Context, m *embed.Model, rows []labelled) (*Report, error) {
	names := make([]string, len(rows))
	for i := range rows {
		names[i] = rows[i].label
	}
	labels, index := linear.Index(names)
	held := c.holds(rows, make([]string, len(rows)))
	c.stage("embedding %d texts", len(rows))
	vectors := make([][]float32, len(rows))
	means := make([][]float32, len(labels))
	for l := range means {
		means[l] = make([]float32, m.Dim())
	}
	for i := range rows {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		vectors[i] = make([]float32, m.Dim())
		m.Embed(vectors[i], rows[i].text)
		if !held[i] {
			for d, x := range vectors[i] {
				means[index[i]][d] += x
			}
		}
	}
	for l := range means {
		unit(means[l])
	}
	confusion := metrics.NewConfusion(labels)
	var ranking metrics.Ranking
	for i := range rows {
		if held[i] {
			order := nearestFirst(vectors[i], means)
			confusion.Add(index[i], order[0])
			ranking.Add(slices.Index(order, index[i]))
		}
	}
	n := ranking.Total()
	if n == 0 {
		return nil, wrong("give more data, or hold more out", "of %d texts none can be held out", len(rows))
	}
	r := &Report{Items: n, Unit: "texts"}
	r.add(TopOne, ranking.RecallAt(1), n)
	r.add(TopThree, ranking.RecallAt(3), n)
	r.add("mean reciprocal rank", ranking.MeanReciprocal(), n)
	r.count(confusion)
	return r, nil
}

// nearestFirst are the indexes of means, the nearest to the vector first.
func nearestFirst(vector []float32, means [][]float32) []int {
	near := make([]float32, len(means))
	order := make([]int, len(means))
	for l := range means {
		near[l], order[l] = embed.Dot(vector, means[l]), l
	}
	sort.SliceStable(order, func(a, b int) bool { return near[order[a]] > near[order[b]] })
	return order
}

// unit scales a vector to length one.
func unit(v []float32) {
	if norm := embed.Dot(v, v); norm > 0 {
		scale := float32(1 / math.Sqrt(float64(norm)))
		for d := range v {
			v[d] *= scale
		}
	}
}
