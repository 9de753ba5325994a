// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/model/kinds"
)

// known is what the tests know of models.
func known() []Option { return []Option{WithKinds(kinds.All(nil)...), WithModels("urgency", "reply")} }

// password is what ${PASSWORD} and ${SECRET_WORD} stand for in tests. Nothing
// that is printed may contain it.
const password = "hunter 2/2"

func testEnv(name string) (string, bool) {
	switch name {
	case "PASSWORD", "SECRET_WORD":
		return password, true
	case "EMPTY":
		return "", true
	}
	return "", false
}

func TestGoodFilesHaveNoErrors(t *testing.T) {
	for _, file := range append(glob(t, "testdata/good/*.yaml"), glob(t, "../examples/*/pipeline.yaml")...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, problems := Check(file, data, testEnv, known()...)
		if p == nil || problems.Errors() > 0 {
			t.Errorf("%v", problems)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := globFiles(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestAProblemDoesNotShowAPassword(t *testing.T) {
	_, problems := Check("p.yaml", []byte("name: x\nbrokr: redis://ann:hunt@er2@host:6379\n"), nil)
	machine, err := json.Marshal(problems)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{string(machine)} {
		if !strings.Contains(s, "redis://ann:********@host:6379") || strings.Contains(s, "hunt") {
			t.Errorf("it shows %s", s)
		}
	}
}
