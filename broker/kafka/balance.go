// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// protocolName is what members of a group agree on. Members of other programs
// do not know it, so the coordinator refuses to mix them with ours.
const protocolName = "millrace"

// claim is what a member says when it joins: what it owns, since which
// generation.
type claim struct {
	member     string
	generation int32
	owned      []int32
}

// balance assigns n partitions to the members: as many to each as to any other,
// give or take one, and as few as possible to others than before. A partition
// that shall move is assigned to nobody until its owner has let it go and joins
// again without it (KIP-429), so a member can hold an open batch through a
// rebalance.
func balance(n int, claims []claim) map[string][]int32 {
	owner := owners(n, claims)
	count := map[string]int{}
	for _, m := range owner {
		count[m]++
	}
	// Those who have most may keep the one more that cannot be shared out.
	order := slices.Clone(claims)
	slices.SortFunc(order, func(x, y claim) int {
		if d := count[y.member] - count[x.member]; d != 0 {
			return d
		}
		return strings.Compare(x.member, y.member)
	})
	quota := map[string]int{}
	for i, c := range order {
		quota[c.member] = n / len(order)
		if i < n%len(order) {
			quota[c.member]++
		}
	}
	plan := map[string][]int32{}
	var spare []int32
	for p, m := range owner {
		switch {
		case m == "":
			spare = append(spare, int32(p))
		case quota[m] > 0:
			plan[m] = append(plan[m], int32(p))
			quota[m]--
		}
	}
	for _, c := range order {
		take := min(quota[c.member], len(spare))
		plan[c.member] = append(plan[c.member], spare[:take]...)
		spare = spare[take:]
	}
	return plan
}

// owners tells who owns each partition. Of two who claim it, the one that knows
// of the later generation does.
func owners(n int, claims []claim) []string {
	owner := make([]string, n)
	since := make([]int32, n)
	for _, c := range claims {
		for _, p := range c.owned {
			if p < 0 || int(p) >= n {
				continue
			}
			if owner[p] == "" || c.generation > since[p] {
				owner[p], since[p] = c.member, c.generation
			}
		}
	}
	return owner
}

// joinMetadata is a claim as the consumer protocol has it: Kafka's tools can
// read it.
func joinMetadata(topics []string, c claim) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version = 2 // with the generation
	m.Topics = topics
	m.Generation = c.generation
	for _, t := range topics {
		owned := kmsg.NewConsumerMemberMetadataOwnedPartition()
		owned.Topic, owned.Partitions = t, c.owned
		m.OwnedPartitions = append(m.OwnedPartitions, owned)
	}
	return m.AppendTo(nil)
}

func parseClaims(members []kmsg.JoinGroupResponseMember) ([]claim, error) {
	var claims []claim
	for _, m := range members {
		var meta kmsg.ConsumerMemberMetadata
		if err := meta.ReadFrom(m.ProtocolMetadata); err != nil {
			return nil, fmt.Errorf("what member %s says: %w", m.MemberID, err)
		}
		c := claim{member: m.MemberID, generation: meta.Generation}
		if len(meta.OwnedPartitions) > 0 {
			c.owned = meta.OwnedPartitions[0].Partitions // the same of every topic
		}
		claims = append(claims, c)
	}
	return claims, nil
}

// assignments are a plan as the consumer protocol has it.
func assignments(topics []string, plan map[string][]int32, claims []claim) []kmsg.SyncGroupRequestGroupAssignment {
	var list []kmsg.SyncGroupRequestGroupAssignment
	for _, c := range claims {
		a := kmsg.NewConsumerMemberAssignment()
		for _, t := range topics {
			at := kmsg.NewConsumerMemberAssignmentTopic()
			at.Topic, at.Partitions = t, plan[c.member]
			a.Topics = append(a.Topics, at)
		}
		s := kmsg.NewSyncGroupRequestGroupAssignment()
		s.MemberID, s.MemberAssignment = c.member, a.AppendTo(nil)
		list = append(list, s)
	}
	return list
}

func parseAssignment(b []byte) ([]int32, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("the group's assignment: %w", err)
	}
	if len(a.Topics) == 0 {
		return nil, nil
	}
	return a.Topics[0].Partitions, nil
}
