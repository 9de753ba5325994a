// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/cli"
	"github.com/millrace-ml/millrace/model"
)

// A program with Millrace's commands for its own models. Its main is
// os.Exit(cli.Main(cli.Options{Models: models})).
func ExampleMain() {
	models := millrace.Models{"shout": model.Each("shout@1", func(_ context.Context, text string) (string, error) {
		return text + "!", nil
	})}
	dir, err := os.MkdirTemp("", "millrace")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte("name: shouts\ntopics: {words: {}}\nservices:\n  shout: {from: words, to: shouts, model: {go: shout}}\n"), 0o600); err != nil {
		panic(err)
	}
	var out strings.Builder
	code := cli.Main(cli.Options{Models: models, Args: []string{"lint", file}, Out: &out})
	fmt.Printf("%sexit code %d\n", strings.TrimPrefix(out.String(), dir+"/"), code)
	// Output:
	// pipeline.yaml: no problems: 1 service, 0 gathers
	// exit code 0
}
