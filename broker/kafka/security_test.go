// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	servers "github.com/millrace-ml/millrace/internal/servers/kafka"
)

// certificate makes a certificate for the loopback that is its own authority.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafka"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// unsigned is a token that Kafka takes where it is set up for tests.
func unsigned(subject string) string {
	part := func(format string, args ...any) string {
		return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, format, args...))
	}
	now := time.Now()
	return part(`{"alg":"none"}`) + "." + part(`{"sub":%q,"iat":%d,"exp":%d}`, subject, now.Unix(), now.Add(time.Hour).Unix()) + "."
}

func TestEncryptionAndPasswords(t *testing.T) {
	cert, key := certificate(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	inline := func(pem []byte) string { return strings.ReplaceAll(string(pem), "\n", `\n`) }
	const (
		prefix = "listener.name.clients."
		common = "org.apache.kafka.common.security."
	)
	c := servers.ForTest(t, servers.Options{
		Protocol: "SASL_SSL",
		Scram:    map[string]string{"desk": "hunter2"},
		Properties: map[string]string{
			prefix + "ssl.keystore.type":                     "PEM",
			prefix + "ssl.keystore.certificate.chain":        inline(cert),
			prefix + "ssl.keystore.key":                      inline(key),
			prefix + "sasl.enabled.mechanisms":               "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
			prefix + "plain.sasl.jaas.config":                common + `plain.PlainLoginModule required user_desk="hunter2";`,
			prefix + "scram-sha-256.sasl.jaas.config":        common + "scram.ScramLoginModule required;",
			prefix + "scram-sha-512.sasl.jaas.config":        common + "scram.ScramLoginModule required;",
			prefix + "oauthbearer.sasl.jaas.config":          common + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="kafka";`,
			prefix + "oauthbearer.connections.max.reauth.ms": "0",
		},
	})
	t.Setenv(envToken, unsigned("desk"))
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512", "oauthbearer"} {
		t.Run(mechanism, func(t *testing.T) {
			user := "desk:hunter2@"
			if mechanism == "oauthbearer" {
				user = ""
			}
			d := newDesk(t, fmt.Sprintf("kafkas://%s%s?sasl=%s&ca=%s", user, c.Addrs(), mechanism, ca), 1)
			consumer := d.join(d.b)
			d.publish("a")
			if err := consumer.Settle(t.Context(), d.answers(d.poll(consumer))...); err != nil {
				t.Fatal(err)
			}
			d.wantAnswers("a")
		})
	}
	t.Run("a wrong password is an error that does not show it", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := Open(ctx, fmt.Sprintf("kafkas://desk:swordfish@%s?sasl=scram-sha-256&ca=%s", c.Addrs(), ca), conformanceOptions)
		if err == nil || strings.Contains(err.Error(), "swordfish") || ctx.Err() != nil {
			t.Errorf("open with a wrong password: %v", err)
		}
	})
	t.Run("an unknown certificate is refused", func(t *testing.T) {
		if _, err := Open(t.Context(), "kafkas://desk:hunter2@"+c.Addrs(), conformanceOptions); err == nil {
			t.Error("connected to a server whose certificate nobody vouches for")
		}
	})
}
