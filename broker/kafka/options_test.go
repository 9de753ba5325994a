// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestURLNamesServersAndTheirSecurity(t *testing.T) {
	for _, c := range []struct {
		url       string
		seeds     []string
		tls       bool
		mechanism string
	}{
		{"kafka://one", []string{"one:9092"}, false, ""},
		{"kafka://one:19092,two", []string{"one:19092", "two:9092"}, false, ""},
		{"kafka://[::1]:9093/", []string{"[::1]:9093"}, false, ""},
		{"kafkas://one", []string{"one:9092"}, true, ""},
		{"kafka://one?tls=true", []string{"one:9092"}, true, ""},
		{"kafka://one?tls=false", []string{"one:9092"}, false, ""},
		{"kafka://me:secret@one", []string{"one:9092"}, false, "PLAIN"},
		{"kafka://me:p%40ss@one?sasl=scram-sha-256", []string{"one:9092"}, false, "SCRAM-SHA-256"},
		{"kafkas://me:p@ss@one?sasl=SCRAM-SHA-512", []string{"one:9092"}, true, "SCRAM-SHA-512"},
		{"kafka://one?sasl=oauthbearer", []string{"one:9092"}, false, "OAUTHBEARER"},
	} {
		a, err := parseURL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if !slices.Equal(a.seeds, c.seeds) {
			t.Errorf("%s: servers %q, want %q", c.url, a.seeds, c.seeds)
		}
		if (a.tls != nil) != c.tls {
			t.Errorf("%s: TLS %v, want %v", c.url, a.tls != nil, c.tls)
		}
		mechanism := ""
		if a.sasl != nil {
			mechanism = a.sasl.Name()
		}
		if mechanism != c.mechanism {
			t.Errorf("%s: SASL %q, want %q", c.url, mechanism, c.mechanism)
		}
	}
}

func TestTheURLSaysHowSoonAKilledProcessIsReplaced(t *testing.T) {
	if a, err := parseURL("kafka://one?takeover=6s"); err != nil || a.takeover != 6*time.Second {
		t.Errorf("takeover %v, %v, want 6s", a, err)
	}
}

func TestURLErrorsNeverShowThePassword(t *testing.T) {
	for _, url := range []string{
		"kafka://",
		"redis://me:hunter2@one",
		"kafka://me:hunter2@",
		"kafka://me:hunter2@one,",
		"kafka://me:hunter2",
		"kafka://me:?hunter2@one",
		"kafka://me:a?hunter2=b@one",
		"kafka://me:hunter2@one?retries=3",
		"kafka://me:hunter2@one?tls=maybe",
		"kafkas://me:hunter2@one?tls=false",
		"kafka://me:hunter2@one?sasl=kerberos",
		"kafka://me:hunter2%zz@one",
		"kafka://me:hunter2@one?a=%zz",
		"kafka://me:hunter2@one?takeover=6",
		"kafka://me:hunter2@one?takeover=-6s",
		"kafka://me:hunter2@one?ca=nowhere.pem",
		"kafka://one?sasl=plain",
	} {
		_, err := parseURL(url)
		if err == nil {
			t.Errorf("%s: no error", url)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", url, err)
		}
	}
}

func TestSecretsComeFromTheEnvironmentAndFromFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(envUsername, "me")
	t.Setenv(envPassword+"_FILE", file)
	user, password, err := credentials("")
	if user != "me" || password != "from a file" || err != nil {
		t.Errorf("credentials are %q, %q, %v", user, password, err)
	}
	t.Setenv(envPassword, "from the environment")
	if _, password, _ = credentials(""); password != "from the environment" {
		t.Errorf("password %q, want the environment's", password)
	}
	if user, password, _ = credentials("you:yours"); user != "you" || password != "yours" {
		t.Errorf("credentials are %q, %q, want those of the URL", user, password)
	}
}

func TestBearerTokensAreReadAnew(t *testing.T) {
	if _, err := bearer(t.Context()); err == nil {
		t.Error("no error without a token")
	}
	for _, token := range []string{"first", "second"} {
		t.Setenv(envToken, token)
		if a, err := bearer(t.Context()); a.Token != token || err != nil {
			t.Errorf("token %q, %v, want %q", a.Token, err, token)
		}
	}
}

func TestNegativeOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"MaxRecordBytes":     {MaxRecordBytes: -1},
		"HandoverTimeout":    {HandoverTimeout: -1},
		"SessionTimeout":     {SessionTimeout: -1},
		"HeartbeatInterval":  {HeartbeatInterval: -1},
		"TransactionTimeout": {TransactionTimeout: -1},
	} {
		b, err := Open(t.Context(), "kafka://127.0.0.1:1", o)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s gives %v, %v", name, b, err)
		}
	}
}
