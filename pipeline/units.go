// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Duration is a length of time that is written "500ms", "5s", "24h" or "7d".
type Duration time.Duration

// Forever is a retention without end, written "forever".
const Forever Duration = math.MaxInt64

// ParseDuration reads a duration (broker.ParseDuration's form) or "forever".
func ParseDuration(s string) (Duration, error) {
	if s == "forever" {
		return Forever, nil
	}
	d, err := broker.ParseDuration(s)
	return Duration(d), err
}

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the shortest form that [ParseDuration] reads: "7d", "1m30s".
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	switch {
	case d == Forever:
		return "forever"
	case d >= day && d%day == 0 && d/day <= 36500:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes the form of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [ParseDuration] reads.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// Size is a number of bytes that is written "65536", "64KiB", "8MiB" or "1GB".
type Size int64

// sizeUnits are the multiples of a byte: the binary ones of IEC 80000-13 and
// the decimal ones of the SI, largest first.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12},
	{"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6},
	{"KiB", 1 << 10}, {"KB", 1e3}, {"kB", 1e3},
	{"B", 1},
}

// ParseSize reads a whole number of bytes, or a number with one of the units B,
// kB (KB), MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024).
func ParseSize(s string) (Size, error) {
	bad := fmt.Errorf("size %q: write a number of bytes, or one with a unit such as 64KiB, 8MiB or 1GB", s)
	number, unit := s, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			number, unit = strings.TrimRight(rest, " "), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64/unit || n < math.MinInt64/unit {
			return 0, bad
		}
		return Size(n * unit), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || unit == 1 || math.Abs(f) > 1e6 || math.IsNaN(f) {
		return 0, bad
	}
	return Size(f * float64(unit)), nil
}

// String is the size in the largest binary unit that divides it: "64KiB".
func (s Size) String() string {
	for _, u := range sizeUnits {
		if strings.HasSuffix(u.name, "iB") && s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes the form of String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what [ParseSize] reads.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// Names is a list of topics. One topic may be written without brackets.
type Names []string

// MarshalJSON writes a single name without brackets.
func (n Names) MarshalJSON() ([]byte, error) {
	if len(n) == 1 {
		return json.Marshal(n[0])
	}
	return json.Marshal([]string(n))
}
