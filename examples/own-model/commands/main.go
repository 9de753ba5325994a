// SPDX-License-Identifier: Apache-2.0

// Commands is Millrace's command line for the program's own models: run, batch,
// lint, dead retry, bench and all others.
package main

import (
	"os"

	"github.com/millrace-ml/millrace/cli"
	"github.com/millrace-ml/millrace/examples/own-model/models"
)

func main() { os.Exit(cli.Main(cli.Options{Name: "own", Models: models.All()})) }
