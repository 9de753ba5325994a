// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAnIdIsAnOffsetThatCanBeReadByEye(t *testing.T) {
	for text, offset := range map[string]id{
		"0-0":                       0,
		"0-1":                       1,
		"1767870000123-45":          1767870000123000045,
		"9223372036853-999999":      9223372036853999999 - 0,
		"1767870000123-999999":      1767870000123999999,
		"1795442324201-1":           1795442324201000001,
		"1-0":                       1000000,
		"000000000000000001-000000": 1000000,
	} {
		got, err := parseID(text)
		if err != nil || got != offset {
			t.Errorf("parseID(%q) = %d, %v, want %d", text, got, err, offset)
		}
	}
	for _, bad := range []string{"", "1", "-", "1-", "-1", "1-1000000", "9223372036854-0", "18446744073709551615-1", "1-1-1", "a-1", "1--1"} {
		if got, err := parseID(bad); err == nil {
			t.Errorf("parseID(%q) = %d, want an error", bad, got)
		}
	}
}

func TestIdsAreWrittenAsTheyAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := id(rapid.Int64Range(0, maxMilli*perMilli).Draw(t, "id"))
		got, err := parseID(want.String())
		if err != nil || got != want {
			t.Fatalf("%d is written %s and read as %d, %v", want, want, got, err)
		}
	})
}

func TestATimeIsTheFirstIdThatIsNotEarlier(t *testing.T) {
	at := time.UnixMilli(1767870000123)
	for d, want := range map[time.Duration]id{
		0:                1767870000123000000,
		1:                1767870000124000000,
		time.Millisecond: 1767870000124000000,
	} {
		if got := idAt(at.Add(d)); got != want {
			t.Errorf("idAt(%v) = %d, want %d", at.Add(d), got, want)
		}
	}
	if got := idAt(time.Unix(-5, 0)); got != 0 {
		t.Errorf("before 1970 the id is %d", got)
	}
}

func TestPositionsAreWrittenAsTheyAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := position{id(rapid.Int64Range(0, maxMilli*perMilli).Draw(t, "last")), rapid.Int64Range(-1, 1<<40).Draw(t, "read")}
		var got position
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Fatalf("%v is read as %v, %v", want, got, err)
		}
	})
	for _, bad := range []string{"", "1-1", "1-1 x", "x 1"} {
		var got position
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("position %q is read as %v, want an error", bad, got)
		}
	}
}
