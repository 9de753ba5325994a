// SPDX-License-Identifier: Apache-2.0

package sanitize

import "testing"

func TestPasswordsAreHidden(t *testing.T) {
	for in, want := range map[string]string{
		"redis://bob:PW@h":                    "redis://bob:**@h",
		"open redis://bob:PW@h:6379/0: no":    "open redis://bob:**@h:6379/0: no",
		`"reids://:PW@h" is not a broker`:     `"reids://:**@h" is not a broker`,
		"reids://P/W:x@y@h":                   "reids://P/W:***@h",
		"redis://PW@h":                        "redis://**@h",
		"broker: redis://bob:üx@h":            "broker: redis://bob:**@h",
		"{broker: 'redis://bob:PW@h,i:1'}":    "{broker: 'redis://bob:**@h,i:1'}",
		"a://b:PW@h and c://d:PW@i":           "a://b:**@h and c://d:**@i",
		"redis:/bob:PW@h":                     "redis:/bob:**@h",
		"redis:bob:PW@h":                      "redis:bob:**@h",
		"no folder bob:PW@h, or \"x:PW@h\"":   "no folder bob:**@h, or \"x:**@h\"",
		"--server=bob:PW@h":                   "--server=bob:**@h",
		"redis://bob:${PW}@h":                 "redis://bob:${PW}@h",
		"redis://${USER}:${PW}@h":             "redis://${USER}:${PW}@h",
		"redis://h:6379":                      "redis://h:6379",
		"model sentiment@1 of me@example.org": "model sentiment@1 of me@example.org",
		`{"model":"sentiment@1"}`:             `{"model":"sentiment@1"}`,
	} {
		if got := Passwords(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}
