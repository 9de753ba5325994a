// SPDX-License-Identifier: Apache-2.0

package millrace

import (
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
// It answers this machine only and asks nobody who they are; serve it with
// [gateway.Listen] and [gateway.Serve].
func (a *App) Handler() http.Handler { return a.gateway }

func (a *App) newGateway() (*gateway.Gateway, error) {
	return gateway.New(a.c.Broker, gateway.Options{
		Sources: a.c.Pipeline.Sources(), Services: a.c.Pipeline.Order(), Retry: a.Retry,
		Registry: a.c.Registry, Healthy: a.Healthy, Ready: a.Ready,
		Tracer: a.c.Tracer, Logger: a.c.Logger,
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
