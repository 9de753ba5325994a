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
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
	servers "github.com/millrace-ml/millrace/internal/test/servers/kafka"
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

// secured is a node that admits clients with TLS and a name only, and lets all but
// desk do what they have a right to.
type secured struct {
	cluster *servers.Cluster
	ca      string
}

func startSecured(t *testing.T) *secured {
	t.Helper()
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
	return &secured{ca: ca, cluster: servers.ForTest(t, servers.Options{
		Protocol: "SASL_SSL",
		Scram:    map[string]string{"desk": "hunter2", "clerk": "tiger", "nobody": "tiger"},
		Properties: map[string]string{
			"authorizer.class.name":                          "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users":                                    "User:ANONYMOUS;User:desk", // the node itself has no name
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
	})}
}

func (s *secured) url(user, mechanism string) string {
	return fmt.Sprintf("kafkas://%s%s?sasl=%s&ca=%s", user, s.cluster.Addrs(), mechanism, s.ca)
}

func TestEncryptionPasswordsAndRights(t *testing.T) {
	s := startSecured(t)
	t.Setenv(envToken, unsigned("desk"))
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512", "oauthbearer"} {
		t.Run(mechanism, func(t *testing.T) {
			user := "desk:hunter2@"
			if mechanism == "oauthbearer" {
				user = ""
			}
			d := newDesk(t, s.url(user, mechanism), 1)
			consumer := d.join(d.b)
			d.publish("a")
			if err := consumer.Settle(t.Context(), d.answers(d.poll(consumer))...); err != nil {
				t.Fatal(err)
			}
			d.wantAnswers("a")
		})
	}
	t.Run("a password in the environment", func(t *testing.T) {
		t.Setenv(envUsername, "desk")
		t.Setenv(envPassword, "hunter2")
		if _, err := open(t, s.url("", "scram-sha-512"), conformanceOptions).Topics(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("a wrong password is an error that does not show it", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := Open(ctx, s.url("desk:swordfish@", "scram-sha-256"), conformanceOptions)
		if !errors.Is(err, broker.ErrRefused) || strings.Contains(err.Error(), "swordfish") {
			t.Errorf("open with a wrong password: %v", err)
		}
	})
	t.Run("an unknown certificate is refused", func(t *testing.T) {
		if _, err := Open(t.Context(), "kafkas://desk:hunter2@"+s.cluster.Addrs(), conformanceOptions); !errors.Is(err, broker.ErrRefused) {
			t.Errorf("open at a server whose certificate nobody vouches for: %v, want an error that is %q", err, broker.ErrRefused)
		}
	})
	t.Run("a client without TLS is told so", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // a server that starts is waited for
		defer cancel()
		_, err := Open(ctx, "kafka://desk:hunter2@"+s.cluster.Addrs(), conformanceOptions)
		if err == nil || !strings.Contains(err.Error(), "TLS") {
			t.Errorf("open without TLS: %v", err)
		}
	})
	t.Run("the documented rights suffice", s.documentedRightsSuffice)
	t.Run("without rights calls fail at once", s.withoutRightsCallsFail)
}

// The rights are those of docs/brokers/kafka.md.
func (s *secured) documentedRightsSuffice(t *testing.T) {
	root := open(t, s.url("desk:hunter2@", "scram-sha-512"), conformanceOptions)
	clerk := open(t, s.url("clerk:tiger@", "scram-sha-512"), conformanceOptions)
	d := namedDesk(t, clerk)
	allow := func(b *kadm.ACLBuilder, operations ...kadm.ACLOperation) {
		if _, err := root.Driver().(*driver).admin.CreateACLs(t.Context(), b.Allow("User:clerk").Operations(operations...)); err != nil {
			t.Fatal(err)
		}
	}
	allow(kadm.NewACLs().TransactionalIDs(d.group).ResourcePatternType(kadm.ACLPatternPrefixed), kadm.OpDescribe, kadm.OpWrite)
	allow(kadm.NewACLs().Groups(d.group), kadm.OpDescribe, kadm.OpRead)
	allow(kadm.NewACLs().Topics(d.in, d.out),
		kadm.OpDescribe, kadm.OpDescribeConfigs, kadm.OpRead, kadm.OpWrite, kadm.OpCreate, kadm.OpAlterConfigs)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := d.create(ctx, 1)
	for errors.Is(err, kerr.ClusterAuthorizationFailed) || errors.Is(err, kerr.TopicAuthorizationFailed) { // not in force yet
		_ = backoff.Sleep(ctx, 10*time.Millisecond)
		err = d.create(ctx, 1)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	must(clerk.CreateTopics(ctx, broker.Topic{Name: d.in, Partitions: 1, Retention: time.Hour}))
	d.publish("a")
	c := d.join(clerk)
	must(c.Settle(ctx, d.answers(d.poll(c))...))
	d.wantAnswers("a")
	if lag := d.lag(); lag != 0 {
		t.Errorf("the lag is %d", lag)
	}
	must(c.Close(ctx))
	must(clerk.Seek(ctx, d.group, d.in, broker.Start()))
	infos, err := clerk.Topics(ctx)
	must(err)
	groups, err := clerk.Groups(ctx)
	must(err)
	if len(infos) != 2 || !slices.Equal(groups, []string{d.group}) {
		t.Errorf("the clerk sees the topics %v and the groups %v", infos, groups)
	}
}

func (s *secured) withoutRightsCallsFail(t *testing.T) {
	nobody := open(t, s.url("nobody:tiger@", "scram-sha-512"), conformanceOptions)
	d := namedDesk(t, nobody)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for what, err := range map[string]error{
		"create": d.create(ctx, 1),
		"seek":   nobody.Seek(ctx, d.group, d.in, broker.Start()),
		"join":   errOf(nobody.Join(ctx, d.group, broker.Start(), d.in)),
	} {
		if !errors.Is(err, broker.ErrRefused) {
			t.Errorf("%s without rights: %v, want an error that is %q", what, err, broker.ErrRefused)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }
