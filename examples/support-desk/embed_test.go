// SPDX-License-Identifier: Apache-2.0

package supportdesk_test

import (
	"testing"

	"github.com/millrace-ml/millrace"
	supportdesk "github.com/millrace-ml/millrace/examples/support-desk"
	"github.com/millrace-ml/millrace/pipeline"
)

func TestTheExampleBringsAllThatItsModelsRead(t *testing.T) {
	file, err := supportdesk.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var brought millrace.Models
	p, err := pipeline.Load(file, pipeline.WithKinds(brought.Kinds()...))
	if err != nil {
		t.Fatal(err)
	}
	for name := range p.Services {
		if _, err := brought.Make(t.Context(), p, name, nil); err != nil {
			t.Errorf("service %s: %v", name, err)
		}
	}
}
