// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"hash/fnv"
)

// version names a model together with the settings its answers depend on:
// "tagger@1", or "keywords@1.5c1f03aa" when there are settings.
func version(name string, settings ...string) string {
	if len(settings) == 0 {
		return name
	}
	h := fnv.New32a()
	for _, s := range settings {
		// Writing to a hash cannot fail.
		_, _ = h.Write([]byte(s))
		_, _ = h.Write([]byte{0})
	}
	return fmt.Sprintf("%s.%08x", name, h.Sum32())
}
