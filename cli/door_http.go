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

	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/gateway"
)

// httpDoor is the pipeline's handler on a port of this machine.
type httpDoor struct {
	listen  string
	handler http.Handler
	ln      net.Listener
	log     *slog.Logger
	serving atomic.Bool
}

func (d *httpDoor) name() string { return "http" }

func (d *httpDoor) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.listen, "listen", "127.0.0.1:8088", "serve HTTP on this port of this machine; port 0 takes a free one, off none")
}

func (d *httpDoor) open(ctx context.Context, log *slog.Logger) (address string, err error) {
	if d.listen == "off" {
		return "", nil
	}
	d.handler, d.log = http.NotFoundHandler(), log
	d.ln, err = gateway.Listen(ctx, d.listen)
	if errors.Is(err, gateway.ErrAddress) {
		return "", usage("choose a port of this machine with --listen 127.0.0.1:PORT, or a free one with --listen 127.0.0.1:0", "%w", err)
	}
	if err != nil {
		return "", err
	}
	return d.address(), nil
}

func (d *httpDoor) address() string { return "http://" + d.ln.Addr().String() }

func (d *httpDoor) lead(in inside) error {
	d.handler = in.app.Handler()
	// The embedded broker notes where other processes find this one.
	return brokers.SetAddress(in.broker, d.address())
}

func (d *httpDoor) serve(ctx context.Context, grace time.Duration) error {
	d.serving.Store(true)
	defer d.serving.Store(false)
	return gateway.Serve(ctx, d.ln, d.handler, grace, d.log)
}

func (d *httpDoor) healthy() error {
	if !d.serving.Load() {
		return errors.New("it does not serve")
	}
	return nil
}
