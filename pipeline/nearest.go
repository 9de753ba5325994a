// SPDX-License-Identifier: Apache-2.0

package pipeline

import "github.com/millrace-ml/millrace/internal/spelling"

// didYouMean is a hint that names the candidate nearest to what was written,
// or the empty text when none is near. Show tells how a candidate is shown.
func didYouMean(written string, candidates []string, show func(string) string) string {
	if best, ok := spelling.Nearest(written, candidates); ok {
		return "did you mean " + show(best) + "?"
	}
	return ""
}
