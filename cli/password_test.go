// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
	"testing"
)

// However an address is mistyped, and wherever it is given, its password is not shown.
func TestNoErrorShowsAPassword(t *testing.T) {
	t.Chdir(t.TempDir())
	const secret = "Sw0rdf1sh"
	long := strings.Repeat("n", 60)
	for i, address := range []string{
		"reids://bob:Sw0rdf1sh@127.0.0.1:1", "redis:/bob:Sw0rdf1sh@127.0.0.1:1", "redis:bob:Sw0rdf1sh@127.0.0.1", "bob:Sw0rdf1sh@127.0.0.1",
		"reids://Sw0rdf1sh@127.0.0.1", "redis://bob:Sw0rdf1sh@127.0.0.1:port", "kafka://bob:Sw0rdf1sh@127.0.0.1:port", "redis://bob:Sw0rdf1sh@127.0.0.1:1/x",
		"kafka://bob:Sw0rdf1sh@127.0.0.1:1?x=y", "embedded://bob:Sw0rdf1sh@h", "http://bob:Sw0rdf1sh@127.0.0.1:port", "http://bob:Sw0rdf1sh@127.0.0.1:1", "htp://bob:Sw0rdf1sh@h",
		"reids://" + long + ":Sw0rdf1sh@" + long, // which is cut where it is shown
	} {
		file := fmt.Sprintf("%d.yaml", i)
		write(t, file, "broker: "+address+"\n"+desk)
		flow := fmt.Sprintf("flow-%d.yaml", i)
		write(t, flow, "broker: {url: '"+address+"'}\n"+desk)
		for _, args := range [][]string{
			{"lint", file}, {"lint", flow}, {"lint", file, "--output", "json"}, {"run", flow}, {"run", file, "--listen", address},
			{"topics", "-p", flow}, {"topics", "--server", address}, {"tail", "x", "--server", address}, {"publish", "x", "--server", address},
			{"copy", "--from", address, "--to", flow}, {"bench", "--broker", address}, {"run", file, address}, {address},
		} {
			got := call(t, "", args...)
			if got.code == exitOK && args[0] != "lint" {
				t.Errorf("%v succeeds", args)
			}
			if text := got.out + got.err; strings.Contains(text, secret) {
				t.Errorf("millrace %s\n%s", strings.Join(args, " "), text)
			}
		}
	}
}
