// SPDX-License-Identifier: Apache-2.0

package conllu_test

import (
	"fmt"
	"strings"

	"github.com/millrace-ml/millrace/text/conllu"
)

func Example() {
	file := "# text = I don't know.\n" +
		"1\tI\tI\tPRON\tPRP\t_\t4\tnsubj\t_\t_\n" +
		"2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n" +
		"2\tdo\tdo\tAUX\tVBP\t_\t4\taux\t_\t_\n" +
		"3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_\n" +
		"4\tknow\tknow\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No\n" +
		"5\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\t_\n\n"
	sentences, err := conllu.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range sentences[0].Words {
		fmt.Println(w.Form, w.UPOS, w.Start, w.End)
	}
	// Output:
	// I PRON 0 1
	// do AUX 2 4
	// n't PART 4 7
	// know VERB 8 12
	// . PUNCT 12 13
}
