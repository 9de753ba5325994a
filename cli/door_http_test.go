// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/gateway"
)

const tokensFile = `
tokens:
  - {name: shop, token: the-token-of-the-shop, rights: [publish], topics: [tickets]}
  - {name: ops, token: the-token-of-operations, rights: [publish, read, admin]}
`

// writeCertificate writes cert.pem and key.pem for localhost, and returns what trusts
// them.
func writeCertificate(t *testing.T) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, "cert.pem", string(text))
	write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

func TestBeyondThisMachineACertificateAndTokensAreNeeded(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	write(t, "tokens.yaml", tokensFile)
	write(t, "wrong.yaml", "tokens: s3cret-s3cret-s3cret")
	writeCertificate(t)
	for flags, want := range map[string]string{
		"--listen 0.0.0.0:0": "needs a certificate and tokens",
		"--listen :0":        "needs a certificate and tokens",
		"--listen 0.0.0.0:0 --tokens tokens.yaml":                                         "needs a certificate and tokens",
		"--listen 0.0.0.0:0 --tls-cert cert.pem --tls-key key.pem":                        "needs a certificate and tokens",
		"--tls-cert cert.pem":                                                             "a certificate and its key go together",
		"--tls-cert cert.pem --tls-key cert.pem":                                          "--tls-cert: read the certificate cert.pem",
		"--tls-cert cert.pem --tls-key nothing.pem":                                       "--tls-cert: read the certificate cert.pem",
		"--tokens wrong.yaml":                                                             "--tokens: read the tokens: wrong.yaml:1:1: tokens is a list",
		"--tokens nothing.yaml":                                                           "--tokens: read the tokens: open nothing.yaml",
		"--listen off --tokens tokens.yaml":                                               "of no use with --listen off",
		"--listen 127.0.0.1:0 --probe-listen nowhere":                                     "--probe-listen",
		"--listen 192.0.2.1:0 --tls-cert cert.pem --tls-key key.pem --tokens tokens.yaml": "this machine has no such address",
	} {
		got := call(t, "", append([]string{"run", "desk.yaml"}, strings.Fields(flags)...)...)
		if got.code != exitUsage || !strings.Contains(got.err, want) || strings.Contains(got.err, "s3cret") {
			t.Errorf("%s: exit code %d\n%s", flags, got.code, got.err)
		}
	}
}

func TestCommandsSendTheTokenThatAProcessAsksFor(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	write(t, "tokens.yaml", tokensFile)
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0", "--tokens", "tokens.yaml", "--data-dir", "data")
	run.awaitRunning()
	for token, want := range map[string][2]int{
		"":                        {exitUsage, exitUsage},
		"the-token-of-nobody":     {exitUsage, exitUsage},
		"the-token-of-the-shop":   {exitOK, exitUsage},
		"the-token-of-operations": {exitOK, exitOK},
	} {
		t.Setenv(tokenVariable, token)
		published, listed := call(t, "{}\n", "publish", "--data-dir", "data", "tickets"), call(t, "", "topics", "--data-dir", "data")
		if published.code != want[0] || listed.code != want[1] {
			t.Errorf("%q: publish %d %s, topics %d %s", token, published.code, published.err, listed.code, listed.err)
		}
		if token == "" && !strings.Contains(published.err, tokenVariable) {
			t.Errorf("it is not said how to send a token: %s", published.err)
		}
	}
	if code := run.stop(syscall.SIGTERM); code != exitOK || strings.Contains(run.logged(), "the-token") {
		t.Errorf("exit code %d\n%s", code, run.logged())
	}
}

func TestARunBeyondThisMachineIsReachedByItsCertificatesName(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	write(t, "tokens.yaml", tokensFile)
	trusted := writeCertificate(t)
	run := launch(t, "run", "desk.yaml", "--listen", "0.0.0.0:0", "--probe-listen", "127.0.0.1:0",
		"--tls-cert", "cert.pem", "--tls-key", "key.pem", "--tokens", "tokens.yaml")
	entry := run.await("running")
	if !strings.HasPrefix(entry.HTTP, "https://localhost:") {
		t.Errorf("it says that it is at %s", entry.HTTP)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	defer transport.CloseIdleConnections()
	client := &gateway.Client{Base: entry.HTTP, HTTP: &http.Client{Transport: transport}, Token: "the-token-of-operations"}
	if topics, err := client.Topics(t.Context()); err != nil || len(topics) == 0 {
		t.Errorf("topics: %v, %v", topics, err)
	}
	for _, at := range []string{"/healthz", "/metrics"} {
		resp, err := http.Get(entry.Probes + at)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", at, resp.Status)
		}
	}
	if code := run.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d\n%s", code, run.logged())
	}
}
