// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
)

func TestAMemberThatIsOfNoUseIsFollowedByAnother(t *testing.T) {
	b, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.CreateTopics(t.Context(), broker.Topic{Name: "in"}); err != nil {
		t.Fatal(err)
	}
	member := Member{Broker: b, Group: "g", Topics: []string{"in"}, Grace: time.Second}
	var seen []*broker.Consumer
	err = member.Run(t.Context(), func(_, _ context.Context, c *broker.Consumer) error {
		if seen = append(seen, c); len(seen) < 3 {
			return fmt.Errorf("poll: %w", broker.ErrRejoin)
		}
		return nil
	})
	if err != nil || len(seen) != 3 || seen[0] == seen[1] {
		t.Errorf("%d members, then %v", len(seen), err)
	}
}
