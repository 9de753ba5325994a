// SPDX-License-Identifier: Apache-2.0

// Own-model serves pipeline.yaml with the program's own models.
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/examples/own-model/models"
	"github.com/millrace-ml/millrace/pipeline"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context) (err error) {
	p, err := pipeline.Load("pipeline.yaml")
	if err != nil {
		return err
	}
	b, err := brokers.Open(ctx, p.BrokerURL(), brokers.Options{DataDir: p.DataDir()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	app, err := millrace.New(ctx, b, p, millrace.Options{Models: models.All(), Announce: brokers.SetAddress})
	if err != nil {
		return err
	}
	return app.Serve(ctx, cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8088"))
}
