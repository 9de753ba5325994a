// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"strings"
	"testing"
	"time"
)

// The expected hashes are those of Kafka's own UtilsTest.testMurmur2.
func TestMurmur2IsKafkas(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestParsePosition(t *testing.T) {
	now := time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]Position{
		"start":                Start(),
		"beginning":            Start(),
		"end":                  End(),
		"12":                   Offset(12),
		"24h":                  At(now.Add(-24 * time.Hour)),
		"7d":                   At(now.Add(-7 * 24 * time.Hour)),
		"1d12h":                At(now.Add(-36 * time.Hour)),
		"2026-01-01T00:00:00Z": At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
	} {
		got, err := ParsePosition(in, now)
		if err != nil || got != want {
			t.Errorf("ParsePosition(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "-1", "soon", "-24h", "nand", "infd", "36500d2562047h"} {
		if p, err := ParsePosition(bad, now); err == nil {
			t.Errorf("ParsePosition(%q) = %v, want an error", bad, p)
		}
	}
}

func TestValidName(t *testing.T) {
	for _, ok := range []string{"tickets", "a.b_c-D9", "...", strings.Repeat("n", 200)} {
		if err := ValidName(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a b", "tickets/1", "ä", strings.Repeat("n", 201)} {
		if ValidName(bad) == nil {
			t.Errorf("ValidName(%q) = nil", bad)
		}
	}
}
