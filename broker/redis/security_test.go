// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	servers "github.com/millrace-ml/millrace/internal/test/servers/redis"
)

// millraceACL are the rights that docs/brokers/redis.md tells to give.
const millraceACL = "~{millrace}:* +@read +@write +@stream +@scripting +@connection +time +cluster -@dangerous +info"

func TestAUserWithTheDocumentedRightsCanDoEverything(t *testing.T) {
	text, err := os.ReadFile("../../docs/brokers/redis.md")
	must(t, err)
	if !strings.Contains(string(text), "ACL SETUSER millrace on >secret "+millraceACL+"\n") {
		t.Error("the documentation names other rights than are tested here")
	}
	s := servers.Start(t, servers.Options{})
	args := []any{"ACL", "SETUSER", "millrace", "on", ">secret"}
	for word := range strings.FieldsSeq(millraceACL) {
		args = append(args, word)
	}
	must(t, s.Client().Do(bounded(t), args...).Err())
	b := open(t, "redis://millrace:secret@"+s.Addr(), conformanceOptions)
	must(t, b.CreateTopics(bounded(t), broker.Topic{Name: "in", Partitions: 1, Retention: time.Hour, RetentionBytes: 1 << 20}))
	for range 3 {
		publish(t, b, pinned("in", "a"))
	}
	c := join(t, b, "g", "in")
	poll(t, c, broker.Want{Records: 1})
	must(t, c.Settle(bounded(t), pinned("in", "b")))
	must(t, c.Close(bounded(t)))
	must(t, b.Seek(bounded(t), "g", "in", broker.Offset(readAll(t, b, "in")[1].Offset)))
	_, err = b.Lag(bounded(t), "g")
	must(t, err)
	_, err = b.Groups(bounded(t))
	must(t, err)
	d := b.Driver().(*driver)
	must(t, d.trimAll(bounded(t)))
	must(t, d.client.Del(bounded(t), d.keys.retention()).Err())
	must(t, d.trimAll(bounded(t)))
	if err := d.client.Set(bounded(t), "another", "x", 0).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("the user may write other keys: %v", err)
	}
}

func TestAConnectionIsEncryptedAndTheServerMustBeTheRightOne(t *testing.T) {
	dir := t.TempDir()
	ca := writeCertificate(t, dir)
	port := strconv.Itoa(freePort(t))
	servers.Start(t, servers.Options{Args: []string{
		"--tls-port", port, "--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-ca-cert-file", ca, "--tls-auth-clients", "yes",
	}})
	address := "rediss://127.0.0.1:" + port
	own := "&cert=" + filepath.Join(dir, "cert.pem") + "&key=" + filepath.Join(dir, "key.pem")
	b := open(t, address+"?ca="+ca+own, conformanceOptions)
	create(t, b, "in", 1)
	publish(t, b, pinned("in", "a"))
	wantValues(t, readAll(t, b, "in"), "a")

	_, err := Open(bounded(t), address+"?namespace=x"+own, conformanceOptions)
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "?ca=") {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// writeCertificate writes cert.pem and key.pem of 127.0.0.1, which vouches for
// itself.
func writeCertificate(t *testing.T, dir string) (cert string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	cert = filepath.Join(dir, "cert.pem")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return cert
}
