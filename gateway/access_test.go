// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/deadletter"
)

// accessFile has a token of each kind.
const accessFile = `
tokens:
  - {name: nobody, token: the-token-of-nobody, rights: [work]}
  - name: shop floor
    token: 'the-token-of-the-shop-floor'
    rights: [publish, read, admin]
    topics: [tickets]
    services: [mood]
  - {name: elsewhere, token: the-token-of-elsewhere, rights: [publish, read, admin], topics: [orders]}
  - name: ops
    sha256: 2b3ea037d18e7d4c46167a3706796fe933b33a94c2d850f9046e69edb3e6447e
    rights: [publish, read, work, admin]
`

// access is what accessFile says.
func access() *Access {
	grants, err := parseGrants([]byte(accessFile))
	if err != nil {
		panic(err)
	}
	return &Access{&watched[[]grant]{value: grants, looked: time.Now().Add(time.Hour)}}
}

func TestATokenAllowsWhatItsEntrySays(t *testing.T) {
	b := desk(t)
	var log bytes.Buffer
	_, client := start(t, b, Options{Access: access(), Retry: echo, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, c := range []struct {
		method, path, body string
		want               [5]int // of no token, nobody, elsewhere, the shop floor, operations
	}{
		{"POST", path, "1", [5]int{401, 403, 403, 200, 200}},
		{"GET", path, "", [5]int{401, 403, 403, 200, 200}},
		{"GET", "/v1/topics/moods/records", "", [5]int{401, 403, 403, 403, 200}},
		{"GET", "/v1/topics", "", [5]int{401, 403, 200, 200, 200}},
		{"GET", "/v1/groups", "", [5]int{401, 403, 200, 200, 200}},
		{"GET", "/v1/groups/desk.mood", "", [5]int{401, 403, 403, 200, 200}},
		{"POST", "/v1/groups/desk.mood/seek", `{"to":"start"}`, [5]int{401, 403, 403, 200, 200}},
		{"GET", "/v1/timeline/tickets/0/0", "", [5]int{401, 403, 403, 403, 200}},
		{"GET", "/v1/dead", "", [5]int{401, 403, 403, 200, 200}},
		{"GET", "/v1/dead?service=mood", "", [5]int{401, 403, 403, 200, 200}},
		{"GET", "/v1/dead?letter=mood.dead/0/0", "", [5]int{401, 403, 403, 200, 200}},
		{"GET", "/v1/dead/mood.dead/0/0", "", [5]int{401, 403, 403, 200, 200}},
		{"POST", "/v1/dead/retry", `{"letters":["mood.dead/0/0"]}`, [5]int{401, 403, 403, 200, 200}},
		{"POST", "/v1/dead/drop", `{"services":["mood"]}`, [5]int{401, 403, 403, 200, 200}},
		{"POST", "/v1/dead/drop", `{}`, [5]int{401, 403, 403, 200, 200}},
		{"GET", "/metrics", "", [5]int{401, 403, 403, 403, 200}},
		{"GET", "/healthz", "", [5]int{401, 200, 200, 200, 200}},
		{"GET", "/openapi.json", "", [5]int{401, 200, 200, 200, 200}},
	} {
		for i, token := range []string{"", "the-token-of-nobody", "the-token-of-elsewhere", "the-token-of-the-shop-floor", "the-token-of-operations"} {
			headers := []string{"Host", "millrace.example"}
			if token != "" {
				headers = append(headers, "Authorization", "Bearer "+token)
			}
			contentType := ""
			if c.body != "" {
				contentType = typeJSON
			}
			got := request(t, client, c.method, c.path, contentType, c.body, headers...)
			if got.status != c.want[i] {
				t.Errorf("%s %s with %q: %d %s, want %d", c.method, c.path, token, got.status, got.body, c.want[i])
			}
			if token != "" && strings.Contains(got.body, token) {
				t.Errorf("%s %s shows the token: %s", c.method, c.path, got.body)
			}
			if got.status == 401 && got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("WWW-Authenticate is %q", got.header.Get("WWW-Authenticate"))
			}
		}
	}
	if !strings.Contains(log.String(), "status=401") {
		t.Errorf("a request without a token is not in the log:\n%s", log.String())
	}
	if strings.Contains(log.String(), "the-token") || !strings.Contains(log.String(), `client="shop floor"`) {
		t.Errorf("the log is\n%s", log.String())
	}
	for _, unknown := range []string{"Bearer the-token-of-nobod", "Basic the-token-of-operations", "Bearer", "the-token-of-operations"} {
		if got := request(t, client, "GET", "/v1/topics", "", "", "Authorization", unknown); got.status != 401 {
			t.Errorf("%s: %v", unknown, got)
		}
	}
}

func TestALimitedTokenSeesNoOthers(t *testing.T) {
	_, client := start(t, desk(t), Options{Access: access()})
	floor := &Client{Base: client.Base, HTTP: client.HTTP, Token: "the-token-of-the-shop-floor"}
	other := &Client{Base: client.Base, HTTP: client.HTTP, Token: "the-token-of-elsewhere"}
	topics, err := floor.Topics(t.Context())
	if err != nil || len(topics) != 1 || topics[0].Name != "tickets" {
		t.Errorf("topics: %v, %v", topics, err)
	}
	if topics, err := other.Topics(t.Context()); err != nil || len(topics) != 0 {
		t.Errorf("topics of others: %v, %v", topics, err)
	}
	if groups, err := other.Groups(t.Context()); err != nil || len(groups) != 0 {
		t.Errorf("groups of others: %v, %v", groups, err)
	}
	if list, err := floor.DeadLetters(t.Context(), deadletter.Selection{}, 0); err != nil || list.Total != 1 {
		t.Errorf("dead letters: %v, %v", list, err)
	}
}

func TestAFileOfTokensIsReadStrictly(t *testing.T) {
	const secret = "s3cret-s3cret-s3cret"
	for text, want := range map[string]string{
		"":                           "1:1: write one document",
		"tokens: []":                 "1:1: tokens is a list",
		"token: {a: " + secret + "}": "1:1: there is no such field: there are tokens",
		secret + ": 1":               "1:1: there is no such field",
		"tokens:\n  - " + secret:     "2:5: here stands a mapping with name, token, sha256",
		"tokens:\n  - {name: a, token: " + secret + "}":                                                                       "2:5: an entry has a name, rights, and either",
		"tokens:\n  - {name: a, rights: [read]}":                                                                              "2:5: an entry has a name, rights, and either",
		"tokens:\n  - {name: a, token: " + secret + ", sha256: x, rights: [read]}":                                            "2:5: an entry has a name, rights, and either",
		"tokens:\n  - {name: a, token: short, rights: [read]}":                                                                "a token has at least 16 characters",
		"tokens:\n  - {name: a, token: 12345678901234567, rights: [read]}":                                                    "here stands a text; put it in quotes",
		"tokens:\n  - {name: a, sha256: " + secret + ", rights: [read]}":                                                      "2:23: sha256 has 64 hexadecimal digits",
		"tokens:\n  - {name: a, token: " + secret + ", rights: [reed]}":                                                       "the rights are publish, read, work and admin",
		"tokens:\n  - {name: a, token: " + secret + ", rights: []}":                                                           "a list that is not empty",
		"tokens:\n  - {name: a, token: " + secret + ", rights: [read], topics: []}":                                           "a list that is not empty",
		"tokens:\n  - {name: a, token: " + secret + ", rights: [read], topic: x}":                                             "there is no such field: there are name,",
		"tokens:\n  - {name: a, token: " + secret + ", rights: [read], services: x}":                                          "a list that is not empty",
		"tokens:\n  - {name: a, token: " + secret + ", name: b, rights: [read]}":                                              "2:",
		"tokens:\n  - {name: a, token: " + secret + ", rights: [read]}\n  - {name: b, token: " + secret + ", rights: [read]}": "3:5: entry 2 has the name or the token of entry 1",
		"tokens: [\"" + secret:           "this is not YAML",
		"---\ntokens: 1\n---\n" + secret: "1:1: write one document",
	} {
		file := filepath.Join(t.TempDir(), "tokens.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenAccess(file, nil)
		if err == nil || !strings.Contains(err.Error(), "tokens.yaml:") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  %v, want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error repeats the token: %v", err)
		}
	}
	_, sample, _ := strings.Cut(pageBeyond, "```\ntokens:")
	sample, _, _ = strings.Cut("tokens:"+sample, "```")
	if grants, err := parseGrants([]byte(sample)); err != nil || len(grants) != 2 {
		t.Errorf("the documentation's file: %v, %v", grants, err)
	}
	if _, err := OpenAccess("nothing.yaml", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// replace writes a file as it is renewed, and lets it be looked at again.
func replace[T any](t *testing.T, w *watched[T], file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.looked = time.Time{}
	w.mu.Unlock()
}

func TestAChangedFileOfTokensHoldsAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(file, []byte(accessFile), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a, err := OpenAccess(file, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	knows := func(token string) bool {
		_, err := a.who(&http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}})
		return err == nil
	}
	if !knows("the-token-of-operations") {
		t.Error("it is not known")
	}
	replace(t, a.file, file, "tokens:\n  - {name: new, token: another-long-token, rights: [read]}")
	if knows("the-token-of-operations") || !knows("another-long-token") {
		t.Error("the old tokens hold still")
	}
	replace(t, a.file, file, "tokens: another-long-token")
	if !knows("another-long-token") || !strings.Contains(log.String(), "tokens.yaml:1:1: tokens is a list") || strings.Contains(log.String(), "another-long") {
		t.Errorf("after a mistake the log is\n%s", log.String())
	}
}

// certify writes a certificate of this machine and its key, with a serial number.
func certify(t *testing.T, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"millrace.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestOtherMachinesAreServedWithACertificateAndTokens(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := certify(t, dir, 1)
	c, err := OpenCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name() != "millrace.example" {
		t.Errorf("the certificate is for %q", c.Name())
	}
	if _, err := ListenTLS(t.Context(), "0.0.0.0:0", c, nil); !errors.Is(err, ErrAddress) {
		t.Errorf("without tokens: %v", err)
	}
	tokens := access()
	ln, err := ListenTLS(t.Context(), "0.0.0.0:0", c, tokens)
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(openBroker(t, "tickets"), Options{Access: tokens})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, ln, 10*time.Second) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	serial := func() int64 {
		t.Helper()
		pool := x509.NewCertPool()
		text, err := os.ReadFile(certFile)
		if err != nil {
			t.Fatal(err)
		}
		pool.AppendCertsFromPEM(text)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
		defer transport.CloseIdleConnections()
		client := &Client{Base: "https://127.0.0.1:" + port, HTTP: &http.Client{Transport: transport}, Token: "the-token-of-operations"}
		if _, err := client.Topics(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("certificate %d", got)
	}
	certify(t, dir, 2)
	c.files.mu.Lock()
	c.files.looked = time.Time{}
	c.files.mu.Unlock()
	if got := serial(); got != 2 {
		t.Errorf("a renewed certificate is not used: it is still %d", got)
	}
	plain, err := http.Get("http://127.0.0.1:" + port + "/v1/topics")
	if err == nil {
		defer plain.Body.Close()
		if body, _ := io.ReadAll(plain.Body); plain.StatusCode == 200 {
			t.Errorf("plain HTTP is answered %s", body)
		}
	}
}

func TestATokenIsNotSentInTheClear(t *testing.T) {
	for base, sent := range map[string]bool{
		"http://127.0.0.1:1": true, "http://localhost:1": true, "https://millrace.example:1": true,
		"http://millrace.example:1": false, "http://10.0.0.1:1": false,
	} {
		asked := false
		c := &Client{Base: base, Token: "the-token-of-operations", HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			asked = r.Header.Get("Authorization") == "Bearer the-token-of-operations"
			return nil, errors.New("no")
		})}}
		_, err := c.Topics(t.Context())
		if asked != sent || err == nil || strings.Contains(err.Error(), "the-token") {
			t.Errorf("%s: sent %v, %v", base, asked, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestProbesAreAnsweredWithoutATokenAndNothingElseIs(t *testing.T) {
	g, _ := start(t, openBroker(t, "tickets"), Options{Access: access()})
	ln, err := ListenProbes(t.Context(), "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, g.Probes(), time.Second, nil) }()
	defer func() { stop(); <-served }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	client := &Client{Base: "http://127.0.0.1:" + port, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	for at, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/v1/topics": 404, "/v1/dead": 404, "/openapi.json": 404} {
		if got := request(t, client, "GET", at, "", "", "Host", "10.1.2.3:9090"); got.status != want {
			t.Errorf("%s: %v", at, got)
		}
	}
	if got := request(t, client, "POST", path, typeJSON, "1"); got.status != 404 {
		t.Errorf("publish: %v", got)
	}
}

func TestEveryRouteThatChangesSomethingAsksForARight(t *testing.T) {
	var open []string
	for _, r := range routes() {
		if r.right == "" {
			open = append(open, r.pattern())
		}
	}
	if want := []string{"GET /healthz", "GET /readyz", "GET /openapi.json"}; !slices.Equal(open, want) {
		t.Errorf("no right is needed for %v", open)
	}
}
