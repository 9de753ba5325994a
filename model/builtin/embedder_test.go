// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

func TestShortNumbersAreWrittenAsStrconvWould(t *testing.T) {
	for n := -10_500; n <= 10_500; n++ {
		for _, x := range []float32{float32(n) / 10_000, (float32(n) + 0.3) / 10_000} {
			rounded := math.Round(float64(x)*10_000) / 10_000
			want := strconv.FormatFloat(rounded, 'f', -1, 64)
			if want == "-0" {
				want = "0"
			}
			if got := string(appendShort(nil, x)); got != want {
				t.Fatalf("%v is written %s, want %s", x, got, want)
			}
		}
	}
}

func TestShortNumbersAreReadAsStrconvWould(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "1", "-1", "0.1234", "-0.9999", "0.00001", "123456", "1234567", "12345678", "1.234567", "0.123456789",
		"-0.12345", "1e3", "-1.5E-2", "3.4e38", "0.3333333333333333",
	} {
		s := scanner{data: []byte(text)}
		got, err := s.short()
		want, _ := strconv.ParseFloat(text, 32)
		if err != nil || math.Float32bits(got) != math.Float32bits(float32(want)) || s.pos != len(text) {
			t.Errorf("%s is read as %v up to byte %d, want %v: %v", text, got, s.pos, want, err)
		}
	}
	for _, text := range []string{"", "-", ".5", "1.", "x", "1e", strings.Repeat("9", 400)} {
		s := scanner{data: []byte(text)}
		if got, err := s.short(); err == nil {
			t.Errorf("%.20q is read as %v", text, got)
		}
	}
}
