// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
)

func TestBenchSaysWhatItCannotMeasureOnAServer(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"not a broker":     {[]string{"--broker", "http://127.0.0.1:80"}, "neither Kafka nor Redis"},
		"no host":          {[]string{"--broker", "redis"}, "write kafka://host:port or redis://host:port"},
		"a password":       {[]string{"--broker", "redis://:hunter2@127.0.0.1:1"}, "without a password"},
		"a database":       {[]string{"--broker", "redis://127.0.0.1:1/3"}, "without a password, database"},
		"parameters":       {[]string{"--broker", "kafka://127.0.0.1:1?tls=true"}, "database or parameters"},
		"a whole pipeline": {[]string{"models", "--broker", "redis://127.0.0.1:1"}, "only settle"},
		"nobody listens":   {[]string{"--broker", "redis://127.0.0.1:1"}, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, "", append([]string{"bench"}, c.args...)...)
			if got.code == 0 || got.out != "" || !strings.Contains(got.err, c.want) {
				t.Errorf("exit %d, stdout %q, stderr %q, want %q", got.code, got.out, got.err, c.want)
			}
			if strings.Contains(got.err, "hunter2") {
				t.Errorf("the password is in %q", got.err)
			}
		})
	}
}
