// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
)

// Certificate is a certificate and its key, which are read again when their files
// have changed: at the next connection, at most once a second. It may be used by
// several goroutines at once.
type Certificate struct{ files *watched[*tls.Certificate] }

// OpenCertificate reads a certificate (with those between it and its authority) and
// its key, both PEM. What is read again later and is wrong changes nothing and is
// logged; a nil logger is slog.Default().
func OpenCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	w, err := watch(func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate %s and its key %s: %w", certFile, keyFile, err)
		}
		return &c, nil
	}, logger, certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &Certificate{w}, nil
}

// Name is the first name or address that the certificate is for; "" if it has none.
func (c *Certificate) Name() string {
	leaf := c.files.get().Leaf
	switch {
	case leaf == nil:
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String()
	}
	return ""
}

// ListenTLS opens a TCP port of any address of this machine for HTTPS; port 0 takes
// a free one. Access is what the gateway that is served there was made with. Without
// it only the loopback is allowed, as everybody else could do everything.
func ListenTLS(ctx context.Context, address string, c *Certificate, access *Access) (net.Listener, error) {
	if c == nil {
		return nil, errors.New("listen: the certificate is nil: open one first")
	}
	listen := listenAnywhere
	if access == nil {
		listen = Listen
	}
	ln, err := listen(ctx, address)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(ln, &tls.Config{
		MinVersion: tls.VersionTLS12,
		// The limits that slow clients call for are those of connections, of which
		// HTTP/2 has one for many requests.
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.files.get(), nil },
	}), nil
}
