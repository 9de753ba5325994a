// SPDX-License-Identifier: Apache-2.0

package metrics

import "slices"

// Report is what a classifier's predictions on labelled texts measure.
type Report struct {
	Texts            int      `json:"texts"`
	Accuracy         float64  `json:"accuracy"`
	MacroF1          float64  `json:"macro_f1"`
	CalibrationError float64  `json:"calibration_error"` // see [Calibration.Error]
	Classes          []Class  `json:"classes"`
	Labels           []string `json:"labels"`
	Confusion        [][]int  `json:"confusion"` // truth by prediction, in the labels' order
	matrix           string
}

// Matrix is the confusion as a table; see [Confusion.Matrix].
func (r Report) Matrix() string { return r.matrix }

// Prediction is one text's true label, the label that was predicted, and the
// probability it was predicted with.
type Prediction struct {
	Truth, Label string
	Probability  float64
}

// Judge measures predictions. Labels that occur only in truth count as never
// found.
func Judge(predictions []Prediction) Report {
	var labels []string
	for _, p := range predictions {
		labels = append(labels, p.Truth, p.Label)
	}
	slices.Sort(labels)
	labels = slices.Compact(labels)
	confusion := NewConfusion(labels)
	var calibration Calibration
	for _, p := range predictions {
		truth, _ := slices.BinarySearch(labels, p.Truth)
		label, _ := slices.BinarySearch(labels, p.Label)
		confusion.Add(truth, label)
		calibration.Add(p.Probability, truth == label)
	}
	r := Report{
		Texts:            confusion.Total(),
		Accuracy:         confusion.Accuracy(),
		MacroF1:          confusion.MacroF1(),
		CalibrationError: calibration.Error(),
		Classes:          confusion.Classes(),
		Labels:           confusion.Labels(),
		matrix:           confusion.Matrix(),
	}
	for i := range labels {
		row := make([]int, len(labels))
		for j := range labels {
			row[j] = confusion.Count(i, j)
		}
		r.Confusion = append(r.Confusion, row)
	}
	return r
}
