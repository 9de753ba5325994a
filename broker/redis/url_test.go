// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAURLSaysHowToReachTheServer(t *testing.T) {
	for _, c := range []struct {
		url  string
		want address
	}{
		{"redis://localhost", address{hosts: []string{"localhost:6379"}, namespace: "millrace"}},
		{"redis://10.0.0.1:7000/3", address{hosts: []string{"10.0.0.1:7000"}, db: 3, namespace: "millrace"}},
		{"redis://[::1]:7000", address{hosts: []string{"[::1]:7000"}, namespace: "millrace"}},
		{"redis://[::1]", address{hosts: []string{"[::1]:6379"}, namespace: "millrace"}},
		{"redis://ann:p%40ss:w%2Frd@localhost", address{hosts: []string{"localhost:6379"}, username: "ann", password: "p@ss:w/rd", namespace: "millrace"}},
		{"redis://:secret@localhost", address{hosts: []string{"localhost:6379"}, password: "secret", namespace: "millrace"}},
		{"redis://a:1,b:2", address{hosts: []string{"a:1", "b:2"}, cluster: true, namespace: "millrace"}},
		{"redis://a?cluster=true&namespace=shop", address{hosts: []string{"a:6379"}, cluster: true, namespace: "shop"}},
		{"redis://a?takeover=1500ms", address{hosts: []string{"a:6379"}, namespace: "millrace", takeover: 1500 * time.Millisecond}},
	} {
		got, err := parseURL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if !slices.Equal(got.hosts, c.want.hosts) || got.username != c.want.username || got.password != c.want.password ||
			got.db != c.want.db || got.cluster != c.want.cluster || got.namespace != c.want.namespace ||
			got.takeover != c.want.takeover {
			t.Errorf("%s is %+v, want %+v", c.url, got, c.want)
		}
		if got.encryption != nil {
			t.Errorf("%s is encrypted", c.url)
		}
	}
	if got, err := parseURL("rediss://cache.example.com:6380"); err != nil || got.encryption == nil || got.encryption.ServerName != "cache.example.com" {
		t.Errorf("rediss:// gave %+v, %v", got, err)
	}
}

func TestTheEnvironmentGivesUserAndPassword(t *testing.T) {
	t.Setenv(usernameVariable, "service")
	t.Setenv(passwordVariable, "from the environment")
	got, err := parseURL("redis://ann:other@localhost")
	if err != nil || got.username != "service" || got.password != "from the environment" {
		t.Errorf("got %q, %q, %v", got.username, got.password, err)
	}
}

func TestABadURLIsAnErrorWithoutTheSecret(t *testing.T) {
	const secret = "hunter2"
	for url, want := range map[string]string{
		"http://:hunter2@localhost":                "redis://host:port",
		"redis://:hunter2@":                        "host is missing",
		"redis://:hunter2@localhost/first":         "not a number",
		"redis://:hunter2%zz@localhost":            "%XX",
		"redis://:hunter2@localhost?colour=red":    "unknown parameter",
		"redis://:hunter2@localhost?cluster=maybe": "true or false",
		"redis://:hunter2@a,b/2":                   "database 0 only",
		"redis://:hunter2@a?ca=ca.pem":             "rediss://",
		"rediss://:hunter2@a?ca=no-such-file":      "no-such-file",
		"rediss://:hunter2@a?cert=a":               "go together",
		"redis://:hunter2@a?namespace=a/b":         "namespace",
		"redis://:hunter2@a?takeover=2":            "such as 2s",
		"redis://ann:hunter2":                      "port is not a number",
		"redis://:12/hunter2@localhost":            "%2F",
		"redis://:12?hunter2@localhost":            "%3F",
	} {
		_, err := Open(context.Background(), url, Options{Logger: quiet})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v; want %q in it and the secret not", url, err, want)
		}
	}
}

func TestAServerThatIsNotThereIsAnErrorThatNamesIt(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, "redis://:hunter2@127.0.0.1:1", Options{Logger: quiet})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
