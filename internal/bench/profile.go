// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"slices"

	"github.com/google/pprof/profile"

	"github.com/millrace-ml/millrace/model"
)

// label marks CPU samples that were taken in a model.
const label = "model"

// labelled is a model whose CPU time shows in the profile.
type labelled struct{ model.Model }

func (l labelled) Predict(ctx context.Context, items []model.Item) (answers []model.Answer, err error) {
	pprof.Do(ctx, pprof.Labels(label, l.Name()), func(ctx context.Context) {
		answers, err = l.Model.Predict(ctx, items)
	})
	return answers, err
}

// Hot is a function with its share of the CPU time, what it calls not counted.
type Hot struct {
	Function string
	Share    float64
}

// cpuProfile is a CPU profile under way.
type cpuProfile struct{ data bytes.Buffer }

func startProfile() (*cpuProfile, error) {
	p := &cpuProfile{}
	if err := pprof.StartCPUProfile(&p.data); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return p, nil
}

// stop ends the profile and writes what it tells into the result.
func (p *cpuProfile) stop(r *GraphResult) error {
	pprof.StopCPUProfile()
	parsed, err := profile.Parse(&p.data)
	if err != nil {
		return fmt.Errorf("read the CPU profile: %w", err)
	}
	var all, inModels int64
	functions := map[string]int64{}
	for _, s := range parsed.Sample {
		n := s.Value[len(s.Value)-1] // CPU nanoseconds
		all += n
		if len(s.Label[label]) > 0 {
			inModels += n
		}
		if len(s.Location) > 0 && len(s.Location[0].Line) > 0 {
			functions[s.Location[0].Line[0].Function.Name] += n
		}
	}
	if all == 0 {
		r.InModels = -1
		return nil
	}
	r.InModels = float64(inModels) / float64(all)
	for name, n := range functions {
		r.Hot = append(r.Hot, Hot{name, float64(n) / float64(all)})
	}
	slices.SortFunc(r.Hot, func(a, b Hot) int {
		switch {
		case a.Share > b.Share || a.Share == b.Share && a.Function < b.Function:
			return -1
		default:
			return 1
		}
	})
	r.Hot = r.Hot[:min(len(r.Hot), 12)]
	return nil
}
