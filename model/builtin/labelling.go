// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/millrace-ml/millrace/model"
)

// scoreDecimals: a probability that is right to a thousandth is as right as
// these models are.
const scoreDecimals = 4

// labeller names the labels whose probabilities a model gives.
type labeller struct {
	// prefixes are `"negative":` and so on: labels never change, so they are
	// made ready for the JSON once.
	prefixes [][]byte
	labels   [][]byte
}

func newLabeller(labels []string) labeller {
	var l labeller
	for _, label := range labels {
		quoted := appendString(nil, label)
		l.labels = append(l.labels, quoted)
		l.prefixes = append(l.prefixes, append(append([]byte(nil), quoted...), ':'))
	}
	return l
}

// append appends {"label":…,"scores":{…}}.
func (l labeller) append(dst []byte, probabilities []float64, best int) []byte {
	dst = append(dst, `{"label":`...)
	dst = append(dst, l.labels[best]...)
	dst = append(dst, `,"scores":{`...)
	for i, p := range probabilities {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, l.prefixes[i]...)
		dst = appendFloat(dst, p, scoreDecimals)
	}
	return append(dst, "}}"...)
}

// loadWeights loads the weights of a model from the file that option weights
// names, or gives the model's own when it names none. It tells what to add to
// the model's version.
func loadWeights[M any](path string, own func() M, load func(r io.Reader) (M, error)) (m M, settings []string, err error) {
	if path == "" {
		return own(), nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return m, nil, &model.OptionError{Option: "weights", Err: err}
	}
	if m, err = load(bytes.NewReader(content)); err != nil {
		return m, nil, &model.OptionError{Option: "weights", Err: fmt.Errorf("%s: %w", path, err)}
	}
	return m, []string{string(content)}, nil
}
