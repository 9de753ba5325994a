// SPDX-License-Identifier: Apache-2.0

package supportdesk_test

import (
	"testing"

	supportdesk "github.com/millrace-ml/millrace/examples/support-desk"
	"github.com/millrace-ml/millrace/model/builtin"
	"github.com/millrace-ml/millrace/pipeline"
)

func TestTheExampleBringsAllThatItsModelsRead(t *testing.T) {
	file, err := supportdesk.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, service := range p.Services {
		if _, err := builtin.New(service.Model.Builtin, service.Model.Options, p.Dir); err != nil {
			t.Errorf("service %s: %v", name, err)
		}
	}
}
