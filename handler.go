// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/millrace-ml/millrace/gateway"
)

// Handler serves the pipeline over HTTP, as docs/http.md describes it: records go
// into its sources and come out of all its topics, dead letters are looked after,
// and metrics and health are shown. It may be used before Run and by several
// servers. Once Run's context ends it takes nothing more in; when Run returns,
// requests that follow a topic end, so that a server can be shut down.
//
// Unless there is an [Options.Access] it answers this machine only and asks nobody
// who they are. Serve it with [App.Serve], or with [gateway.Listen] or
// [gateway.ListenTLS], and [gateway.Serve], beside Run.
func (a *App) Handler() http.Handler { return a.gateway }

// Probes serves health and metrics alone, to anybody: see [gateway.Gateway.Probes].
func (a *App) Probes() http.Handler { return a.gateway.Probes() }

// Serve is [App.Run] with the Handler at a port of this machine, such as
// "127.0.0.1:8088"; port 0 takes a free one, and the log tells which. The handler
// answers until the pipeline has drained, so that the last answers can be read. It
// returns nil after a clean drain, an error when the port cannot be had, before
// anything runs, and otherwise what Run returns.
func (a *App) Serve(ctx context.Context, address string) error {
	ln, err := gateway.Listen(ctx, address)
	if err != nil {
		return err
	}
	if a.ran.Swap(true) { // before the address is given to anybody
		return errors.Join(errRan, ln.Close())
	}
	base := "http://" + ln.Addr().String()
	if a.c.Announce != nil {
		if err := a.c.Announce(a.c.Broker, base); err != nil {
			a.ran.Store(false) // nothing has run
			return errors.Join(err, ln.Close())
		}
	}
	a.c.Logger.Info("running", "pipeline", a.c.Pipeline.Name, "http", base)
	running, stop := context.WithCancel(ctx)
	defer stop()
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	served := make(chan error, 1)
	go func() {
		served <- gateway.Serve(serving, ln, a.Handler(), a.c.Grace, a.c.Logger)
		stop() // nobody could reach what runs on
	}()
	err = a.run(running)
	end()
	return errors.Join(err, <-served)
}

func (a *App) newGateway() (*gateway.Gateway, error) {
	return gateway.New(a.c.Broker, gateway.Options{
		Sources: a.c.Pipeline.Sources(), Services: a.c.Pipeline.Order(), Retry: a.Retry,
		Registry: a.c.Registry, Healthy: a.Healthy, Ready: a.Ready,
		Access: a.c.Access, Tracer: a.c.Tracer, Logger: a.c.Logger,
	})
}

// Watch makes the health of something else that the process needs, such as
// another way in, a part of the app's: Healthy calls healthy and returns its error
// with the name before it. It is called before Run.
func (a *App) Watch(name string, healthy func() error) {
	a.watched = append(a.watched, func() error {
		if err := healthy(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}
