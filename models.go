// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/kinds"
	"github.com/millrace-ml/millrace/pipeline"
)

// Models are models that a program brings, by the names that pipelines have for
// them: {go: NAME}. Nil brings none.
type Models map[string]model.Model

// Kinds are the kinds of model that a pipeline of the program can name, for
// [pipeline.WithKinds].
func (m Models) Kinds() []model.Kind { return kinds.All(m) }

// Make makes the model of a service, of any kind. A nil logger is
// slog.Default().
func (m Models) Make(ctx context.Context, p *pipeline.Pipeline, service string, log *slog.Logger) (model.Model, error) {
	named := p.Services[service].Model
	all := m.Kinds()
	i := slices.IndexFunc(all, func(k model.Kind) bool { return k.Name == named.Kind })
	if i < 0 {
		return nil, fmt.Errorf("there is no kind of model %q", named.Kind)
	}
	return all[i].Make(ctx, model.Spec{
		Argument: named.Argument, Options: named.Options, Dir: p.Dir, Service: service, Logger: log,
	})
}

// resolve reads and checks what the pipeline says about models. Services that
// run elsewhere may have models that this program does not bring.
func (c *config) resolve() (err error) {
	if c.Model != nil {
		return nil
	}
	known := c.Models
	if len(c.Only) > 0 {
		known = nil
	}
	c.Pipeline, err = c.Pipeline.Resolve(pipeline.WithKinds(known.Kinds()...))
	return err
}

// model makes the model of a service. What is wrong with it is a problem of the
// pipeline.
func (c *config) model(ctx context.Context, service string) (m model.Model, err error) {
	if c.Model != nil {
		m, err = c.Model(service, c.Pipeline.Services[service].Model)
	} else {
		m, err = c.Models.Make(ctx, c.Pipeline, service, c.Logger)
	}
	if err == nil {
		err = model.Check(m)
	}
	if err != nil && ctx.Err() == nil {
		err = pipeline.Problems{c.Pipeline.ModelProblem(service, err)}
	}
	return m, err
}

// ModelHandlers are the HTTP handlers of models that have one ([http.Handler]),
// by service. Requests are to reach them with the path below the service's own.
func (a *App) ModelHandlers() map[string]http.Handler {
	handlers := map[string]http.Handler{}
	for _, u := range a.units {
		if h, ok := u.model.(http.Handler); ok {
			handlers[u.Name] = h
		}
	}
	return handlers
}
