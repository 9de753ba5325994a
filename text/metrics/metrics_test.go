// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"math"
	"testing"

	"github.com/millrace-ml/millrace/text/metrics"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestClassesMeasurePrecisionRecallAndF1(t *testing.T) {
	c := metrics.NewConfusion([]string{"a", "b", "never"})
	for _, p := range [][2]int{{0, 0}, {0, 0}, {0, 1}, {1, 1}, {1, 0}, {1, 0}} {
		c.Add(p[0], p[1])
	}
	a := c.Classes()[0]
	near(t, "precision", a.Precision, 0.5)
	near(t, "recall", a.Recall, 2.0/3)
	near(t, "f1", a.F1, 4.0/7)
	if a.Support != 3 {
		t.Errorf("support is %d, want 3", a.Support)
	}
	// The label that never occurs does not count.
	near(t, "macro-F1", c.MacroF1(), (4.0/7+0.4)/2)
}

func TestALabelOnlyPredictedCountsAsZero(t *testing.T) {
	c := metrics.NewConfusion([]string{"a", "b"})
	c.Add(0, 0)
	c.Add(0, 1)
	near(t, "macro-F1", c.MacroF1(), (2.0/3)/2)
}

func TestNothingMeasuredIsZero(t *testing.T) {
	c := metrics.NewConfusion([]string{"a"})
	near(t, "accuracy", c.Accuracy(), 0)
	near(t, "macro-F1", c.MacroF1(), 0)
	near(t, "recall", new(metrics.Ranking).RecallAt(1), 0)
	near(t, "calibration", new(metrics.Calibration).Error(), 0)
}

func TestCalibrationErrorIsTheGapBetweenConfidenceAndTruth(t *testing.T) {
	var c metrics.Calibration
	for i := range 10 {
		c.Add(0.9, i < 7)
	}
	near(t, "error", c.Error(), 0.2)
	c = metrics.Calibration{}
	c.Add(1, true)
	c.Add(0, false)
	near(t, "error", c.Error(), 0)
}

func TestRecallCountsTheFirstK(t *testing.T) {
	var r metrics.Ranking
	for _, place := range []int{0, 0, 2, -1} {
		r.Add(place)
	}
	near(t, "recall@1", r.RecallAt(1), 0.5)
	near(t, "recall@3", r.RecallAt(3), 0.75)
	near(t, "mean reciprocal rank", r.MeanReciprocal(), (1+1+1.0/3)/4)
}

func TestJudgeCountsLabelsThatTheModelDoesNotKnow(t *testing.T) {
	r := metrics.Judge([]metrics.Prediction{
		{Truth: "a", Label: "a", Probability: 1},
		{Truth: "b", Label: "a", Probability: 1},
		{Truth: "a", Label: "a", Probability: 1},
		{Truth: "a", Label: "a", Probability: 1},
	})
	near(t, "accuracy", r.Accuracy, 0.75)
	near(t, "macro-F1", r.MacroF1, (6.0/7)/2)
	near(t, "calibration error", r.CalibrationError, 0.25)
	if r.Texts != 4 || len(r.Confusion) != 2 || r.Confusion[1][0] != 1 {
		t.Errorf("report is %+v", r)
	}
}
