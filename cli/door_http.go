// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/gateway"
)

// httpDoor is the pipeline's handler on a port: of this machine's loopback, or with
// a certificate and tokens of any of its addresses.
type httpDoor struct {
	listen    string
	cert, key string // files; "": plain HTTP
	tokens    string // a file; "": nobody is asked
	base      string // the URL, when it is open
	inside    entrance
	ln        net.Listener
	log       *slog.Logger
	serving   atomic.Bool
}

func (d *httpDoor) name() string { return "http" }

func (d *httpDoor) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.listen, "listen", "127.0.0.1:8088", "serve HTTP at this address; port 0 takes a free one, off none; other addresses than this machine's loopback need --tls-cert, --tls-key and --tokens")
	f.StringVar(&d.cert, "tls-cert", "", "serve HTTPS with the certificate in this PEM file, which is read again when it is renewed")
	f.StringVar(&d.key, "tls-key", "", "the certificate's key, a PEM file")
	f.StringVar(&d.tokens, "tokens", "", "ask for the tokens in this YAML file, which is read again when it has changed")
}

// check finds flags that do not go together.
func (d *httpDoor) check() error {
	if (d.cert == "") != (d.key == "") {
		return usage("give both --tls-cert and --tls-key", "a certificate and its key go together")
	}
	if d.listen == "off" && (d.cert != "" || d.tokens != "") {
		return usage("leave --listen off out, or the others", "--tls-cert and --tokens are of no use with --listen off")
	}
	host, _, err := net.SplitHostPort(d.listen)
	if err == nil && !gateway.Loopback(host) && (d.cert == "" || d.tokens == "") {
		return usage("give --tls-cert, --tls-key and --tokens, or listen on this machine only, with --listen 127.0.0.1:PORT",
			"--listen %s is reached from other machines, which needs a certificate and tokens", d.listen)
	}
	return nil
}

func (d *httpDoor) open(ctx context.Context, o *millrace.Options) (address string, err error) {
	if err := d.check(); err != nil || d.listen == "off" {
		return "", err
	}
	d.log = o.Logger
	if d.tokens != "" {
		if o.Access, err = gateway.OpenAccess(d.tokens, o.Logger); err != nil {
			return "", usage("docs/http.md describes the file", "--tokens: %w", err)
		}
	}
	if d.cert == "" {
		d.ln, err = gateway.Listen(ctx, d.listen)
	} else {
		err = d.secure(ctx, o.Access)
	}
	if errors.Is(err, gateway.ErrAddress) {
		return "", usage("choose a port of this machine with --listen 127.0.0.1:PORT, or a free one with --listen 127.0.0.1:0", "%w", err)
	}
	if err != nil {
		return "", err
	}
	if d.base == "" {
		d.base = "http://" + d.ln.Addr().String()
	}
	return d.base, nil
}

// secure listens with TLS. Others find this process by the certificate's name.
func (d *httpDoor) secure(ctx context.Context, access *gateway.Access) error {
	certificate, err := gateway.OpenCertificate(d.cert, d.key, d.log)
	if err != nil {
		return usage("both are PEM files, of one pair", "--tls-cert: %w", err)
	}
	if d.ln, err = gateway.ListenTLS(ctx, d.listen, certificate, access); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(d.ln.Addr().String())
	if err != nil {
		return errors.Join(err, d.ln.Close())
	}
	if name := certificate.Name(); name != "" {
		host = name
	}
	d.base = "https://" + net.JoinHostPort(host, port)
	return nil
}

func (d *httpDoor) lead(in inside) error {
	d.inside.lead(in.app.Handler())
	// The embedded broker notes where other processes find this one.
	return brokers.SetAddress(in.broker, d.base)
}

func (d *httpDoor) serve(ctx context.Context, grace time.Duration) error {
	d.serving.Store(true)
	defer d.serving.Store(false)
	return gateway.Serve(ctx, d.ln, &d.inside, grace, d.log)
}

func (d *httpDoor) healthy() error {
	if !d.serving.Load() {
		return errors.New("it does not serve")
	}
	return nil
}

// entrance is a handler that does not know from the start what it leads to.
type entrance struct{ to atomic.Pointer[http.Handler] }

func (e *entrance) lead(to http.Handler) { e.to.Store(&to) }

// ServeHTTP implements http.Handler.
func (e *entrance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if to := e.to.Load(); to != nil {
		(*to).ServeHTTP(w, r)
		return
	}
	gateway.Starting().ServeHTTP(w, r)
}
