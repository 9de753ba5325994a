// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// Members come, go and pause between rebalances, and in each rebalance they
// claim what they own, as members do.
func TestBalanceHandsOverOnlyWhatWasLetGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "partitions")
		owned := map[string][]int32{}
		generation := int32(0)
		for range rapid.IntRange(1, 15).Draw(t, "rebalances") {
			if rapid.Bool().Draw(t, "one joins") || len(owned) == 0 {
				owned[fmt.Sprintf("m%d", generation)] = nil
			} else if names := sortedNames(owned); len(names) > 1 && rapid.Bool().Draw(t, "one leaves") {
				delete(owned, rapid.SampledFrom(names).Draw(t, "who"))
			}
			// As members let go and join again, the group comes to rest.
			for range 3 {
				var claims []claim
				for _, name := range sortedNames(owned) {
					claims = append(claims, claim{member: name, generation: generation, owned: owned[name]})
				}
				plan := balance(n, claims)
				checkPlan(t, n, owned, plan)
				generation++
				for name := range owned {
					owned[name] = plan[name]
				}
			}
			checkRest(t, n, owned)
		}
	})
}

func sortedNames(owned map[string][]int32) []string {
	var names []string
	for name := range owned {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func checkPlan(t *rapid.T, n int, owned, plan map[string][]int32) {
	given := map[int32]string{}
	for name, partitions := range plan {
		for _, p := range partitions {
			if other, twice := given[p]; twice {
				t.Fatalf("partition %d goes to %s and %s", p, other, name)
			}
			given[p] = name
		}
	}
	for name, partitions := range owned {
		for _, p := range partitions {
			if to, ok := given[p]; ok && to != name {
				t.Fatalf("partition %d goes to %s while %s owns it", p, to, name)
			}
		}
	}
}

func checkRest(t *rapid.T, n int, owned map[string][]int32) {
	total, least, most := 0, n, 0
	for _, partitions := range owned {
		total += len(partitions)
		least, most = min(least, len(partitions)), max(most, len(partitions))
	}
	if total != n {
		t.Fatalf("%d of %d partitions are assigned: %v", total, n, owned)
	}
	if most-least > 1 {
		t.Fatalf("some have %d partitions and some %d: %v", most, least, owned)
	}
}

func TestBalanceKeepsWhatItCan(t *testing.T) {
	plan := balance(4, []claim{
		{member: "a", generation: 1, owned: []int32{0, 3}},
		{member: "b", generation: 1, owned: []int32{1, 2}},
	})
	if !slices.Equal(plan["a"], []int32{0, 3}) || !slices.Equal(plan["b"], []int32{1, 2}) {
		t.Errorf("a balanced group was changed: %v", plan)
	}
}

// A member that missed a generation claims what others got since.
func TestBalanceTrustsTheLaterGeneration(t *testing.T) {
	plan := balance(2, []claim{
		{member: "a", generation: 3, owned: []int32{0, 1}},
		{member: "b", generation: 5, owned: []int32{0}},
	})
	if !slices.Equal(plan["a"], []int32{1}) || !slices.Equal(plan["b"], []int32{0}) {
		t.Errorf("plan %v, want a: [1], b: [0]", plan)
	}
}

func TestClaimsAndAssignmentsSurviveTheWire(t *testing.T) {
	topics := []string{"a", "b"}
	sent := claim{member: "m", generation: 7, owned: []int32{1, 4}}
	claims, err := parseClaims([]kmsg.JoinGroupResponseMember{{MemberID: "m", ProtocolMetadata: joinMetadata(topics, sent)}})
	if err != nil || len(claims) != 1 || claims[0].generation != 7 || !slices.Equal(claims[0].owned, sent.owned) {
		t.Errorf("claim %+v became %+v, %v", sent, claims, err)
	}
	list := assignments(topics, map[string][]int32{"m": {2, 3}}, claims)
	got, err := parseAssignment(list[0].MemberAssignment)
	if err != nil || !slices.Equal(got, []int32{2, 3}) {
		t.Errorf("assignment became %v, %v", got, err)
	}
}
