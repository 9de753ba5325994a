// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"math"
	"strconv"
	"testing"
)

func TestTextHasContrastInLightAndDark(t *testing.T) {
	for kind, c := range colours {
		for name, s := range map[string]shade{"light": c.light, "dark": c.dark} {
			if ratio := contrast(t, s.text, s.fill); ratio < 4.5 {
				t.Errorf("%s, %s: the contrast of text is %.1f:1", kind, name, ratio)
			}
		}
	}
	for name, s := range map[string]struct{ paper, border, ink, faint, line string }{"light": sheet.light, "dark": sheet.dark} {
		for what, least := range map[string]float64{s.ink: 4.5, s.faint: 4.5, s.line: 2.5} {
			if ratio := contrast(t, what, s.paper); ratio < least {
				t.Errorf("sheet, %s: the contrast of %s is %.1f:1", name, what, ratio)
			}
		}
	}
}

// contrast is WCAG 2.2's contrast ratio of two colours.
func contrast(t *testing.T, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
