// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/gateway"
)

// probeDoor is health and metrics alone, without a token, on a port of their own.
type probeDoor struct {
	listen string
	inside entrance
	ln     net.Listener
	log    *slog.Logger
}

func (d *probeDoor) name() string { return "probes" }

func (d *probeDoor) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.listen, "probe-listen", "off", "serve /healthz, /readyz and /metrics alone at this address, to anybody and in plain HTTP")
}

func (d *probeDoor) open(ctx context.Context, o *millrace.Options) (address string, err error) {
	if d.listen == "off" {
		return "", nil
	}
	d.log = o.Logger
	d.ln, err = gateway.ListenProbes(ctx, d.listen)
	if errors.Is(err, gateway.ErrAddress) {
		return "", usage("choose another with --probe-listen", "%w", err)
	}
	if err != nil {
		return "", err
	}
	return "http://" + d.ln.Addr().String(), nil
}

func (d *probeDoor) lead(in inside) error {
	d.inside.lead(in.app.Probes())
	return nil
}

func (d *probeDoor) serve(ctx context.Context, grace time.Duration) error {
	return gateway.Serve(ctx, d.ln, &d.inside, grace, d.log)
}

// healthy is nil: who asks is answered by this door or by another one.
func (d *probeDoor) healthy() error { return nil }
