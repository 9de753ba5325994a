// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/millrace-ml/millrace/text/metrics"
)

// measureTransfer prints how much is right on each writer's messages when only
// the others' were learned from. It is the nearest to messages of strangers:
// folds share their writers' habits with what they are measured by.
func measureTransfer(name string, messages []message, measure func(learn, test []message) (metrics.Report, error)) error {
	for _, writer := range writers(messages) {
		var learn, test []message
		for _, m := range messages {
			if m.writer == writer {
				test = append(test, m)
			} else {
				learn = append(learn, m)
			}
		}
		if len(learn) == 0 {
			return nil
		}
		r, err := measure(learn, test)
		if err != nil {
			return err
		}
		fmt.Printf("%s, learned from the others, on %s: %d messages, accuracy %.3f, macro-F1 %.3f\n",
			name, writer, r.Texts, r.Accuracy, r.MacroF1)
	}
	fmt.Println()
	return nil
}

func writers(messages []message) (names []string) {
	for _, m := range messages {
		if len(names) == 0 || names[len(names)-1] != m.writer {
			names = append(names, m.writer)
		}
	}
	return names
}
