// SPDX-License-Identifier: Apache-2.0

// Millrace runs machine-learning models on streams of messages. See package
// cli for the commands.
package main

import (
	"os"

	"github.com/millrace-ml/millrace/cli"
)

func main() {
	os.Exit(cli.Main(cli.Options{}))
}
