// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/millrace-ml/millrace/broker/brokertest/internal/memory"
)

type catch struct {
	property string
	fault    memory.Fault
	verdict  string
}

// catches says which property must notice which fault, and with what words; none
// where several are right.
var catches = []catch{
	{"Publish/keeps what a record carries", memory.DropsRepeatedHeaders, "5 headers became 3"},
	{"Publish/does not keep the caller's bytes", memory.KeepsCallersBytes, "changed with the caller's bytes"},
	{"Publish/takes a record at the limit", memory.LimitTooLow, "too large"},
	{"Publish/refuses a record over the limit and writes nothing", memory.LimitTooHigh, "succeeded"},
	{"Publish/puts equal keys where PartitionOf says", memory.OtherPartition, "PartitionOf says"},
	{"Publish/puts a pinned record where it says", memory.OtherPartition, "pinned to partition"},
	{"Publish/keeps the order of a key", memory.PublishReorders, "reordered"},
	{"Publish/lets time never go back in a partition", memory.TimeGoesBack, "time goes back"},
	{"Publish/refuses an unknown topic", memory.CreatesUnknownTopic, "succeeded"},
	{"Publish/loses nothing of many publishers at once", memory.LosesRecords, "lost: key"},
	{"Topics/are created once", memory.CreateEmptiesTopic, "after creating the topic again"},
	{"Topics/keep their number of partitions", memory.IgnoresTopicConflict, "succeeded"},
	{"Topics/take another retention over", memory.KeepsOldRetention, "Retention:"},
	{"Topics/have valid names", memory.RefusesLongNames, "the name is too long"},
	{"Topics/are described as they are", memory.EndOffByOne, "want 5 records between them"},
	{"Read/begins and ends where it says", memory.ReadFromOffByOne, "read from an offset"},
	{"Read/begins and ends where it says", memory.ReadToIncluded, "read to an offset"},
	{"Read/finds records by time", memory.TimeExcluded, "read from a time"},
	{"Read/reads all partitions", memory.ReadMissesPartition, "read all partitions"},
	{"Read/ends where the topic ended when it began", memory.ReadEndMoves, "too late"},
	{"Read/returns at most max records", memory.NextIgnoresMax, "Next(3) returned 20"},
	{"Read/waits for more when it is for ever", memory.ReadersNotWoken, "not woken by a publish"},
	{"Read/loses nothing when its context ends", memory.ReadCancelSkips, "after a context ended"},
	{"Read/refuses an unknown topic", memory.CreatesUnknownTopic, "succeeded"},
	{"Join/refuses topics that do not fit", memory.CreatesUnknownTopic, "succeeded"},
	{"Join/begins a new group where it says", memory.IgnoresStart, "a group from the end"},
	{"Join/begins a new group at a time", memory.IgnoresStart, "a group from a time"},
	{"Join/fixes the end when it joins", memory.EndAtFirstPoll, "context deadline exceeded"},
	{"Join/lets existing positions win", memory.JoinResetsPositions, "after joining again"},
	{"Join/gives a new topic of an old group its start", memory.NewTopicAtEnd, "context deadline exceeded"},
	{"Groups/read independently of each other", memory.GroupsShared, ""},
	{"Groups/are named while they have members or positions", memory.GroupsOnlyActive, "is not named"},
	{"Lag/is true at each step", memory.LagStands, "after a settle"},
	{"Lag/counts partitions that the group has no position in", memory.LagOfPositionsOnly, "the lag is 0 while 3 records are left"},
	{"Lag/names the members", memory.LagWithoutMembers, "Lag names \"\""},
	{"Lag/is zero after everything is settled downstream", memory.LagCountsMarkers, "lag is 0"},
	{"Seek/moves to start, end, offset and time", memory.SeekIgnored, "after a seek to start"},
	{"Seek/moves to start, end, offset and time", memory.TimeExcluded, "after a seek to 20"},
	{"Seek/moves one topic of a group only", memory.SeekOnlyFirst, "are 1 and 0, want 2 and 0"},
	{"Seek/moves each partition on its own", memory.SeekFirstForAll, "after a seek to a position in each partition"},
	{"Seek/moves each partition on its own", memory.SeekUnsetIsStart, "after a seek of one partition"},
	{"Seek/is refused while the group has members", memory.SeeksActiveGroup, "succeeded"},
	{"Seek/gives a new group its positions", memory.SeekNeedsGroup, "is not named"},
	{"Seek/refuses an unknown topic", memory.CreatesUnknownTopic, "succeeded"},
	{"Seek/replays the same records", memory.SeekOnlyFirst, "context deadline exceeded"},
	{"Poll/returns each partition in order", memory.PollReorders, "comes after"},
	{"Poll/returns at most Want.Records", memory.IgnoresWantRecords, "Want.Records is 1"},
	{"Poll/returns about Want.Bytes", memory.IgnoresWantBytes, "Want.Bytes is 10000"},
	{"Poll/returns one record however large", memory.HugeNeverFits, "context deadline exceeded"},
	{"Poll/waits for more as long as Want.Wait", memory.IgnoresWait, "returned 1 records, want 3"},
	{"Poll/stops waiting when it has enough", memory.WaitsTooLong, "waits for more than it may return"},
	{"Poll/takes nothing from paused partitions", memory.IgnoresPause, "with the others paused"},
	{"Poll/blocks until there is a record", memory.ReadersNotWoken, "not woken by a publish"},
	{"Poll/skips nothing when its context ends", memory.CancelSkips, "after a context ended"},
	{"Poll/skips nothing when its context ends while it waits", memory.CancelSkips, "context deadline exceeded"},
	{"Poll/skips nothing when its context ends while it waits", memory.CancelReturnsBatch, "returned 1 records and <nil>"},
	{"Poll/returns the oldest record of all topics first", memory.TopicsInTurn, "three topics"},
	{"Poll/returns bytes that stay as they are", memory.ReusesBuffers, "polled: got"},
	{"Poll/tells the backlog", memory.BacklogStands, "the backlog is 0"},
	{"Poll/tells the backlog", memory.BacklogCountsOpen, "are left to poll, and the backlog is"},
	{"Publish/tells where each record went", memory.OffsetOffByOne, "was said to be at"},
	{"Batches/are polled while earlier ones are open", memory.SettleMovesToPolled, ""},
	{"Batches/settle in the order of the polls", memory.SettleMovesToPolled, "the lag is"},
	{"Batches/of other partitions do not wait", memory.SettlesInTurn, "settle a batch of another partition"},
	{"Batches/are settled together without a handle", memory.SettleKeepsPositions, "the lag is 4, want 1"},
	{"Batches/take place once when they are settled again", memory.CancelledSettleHalf, "results: got"},
	{"Batches/take place once when they are settled again", memory.SettlesLate, ""},
	{"Batches/come again after Rewind", memory.RewindLoses, "after Rewind"},
	{"Batches/come again after Rewind", memory.RewindDoesNothing, "after Rewind: got"},
	{"Batches/come again when Rewind comes while they settle", memory.RewindLoses, "results: got"},
	{"Batches/come again when Rewind comes while they settle", memory.RewindDoesNothing, "are not settled"},
	{"Batches/come again after Close", memory.CloseSkipsBatch, "context deadline exceeded"},
	{"Batches/show their results in the order of the polls", memory.SettleReorders, "of partition"},
	{"Batches/show their results in the order of the polls", memory.PositionsLater, "but then the group was only past"},
	{"Batches/show their results in the order of the polls", memory.SettleMovesToPolled, ""},
	{"Batches/keep every key in order when they end in any order", memory.PollReorders, "reordered"},
	{"Batches/keep every key in order when they end in any order", memory.RewindLoses, "lost"},
	{"Batches/keep every key in order when they end in any order", memory.SettleMovesToPolled, "lost"},
	{"Settle/publishes the results and moves the group", memory.SettleLosesResults, "tell of 0 records, want 6"},
	{"Settle/publishes the results and moves the group", memory.SettleKeepsPositions, "the lag is 6"},
	{"Settle/moves past the polled batch only", memory.SettleMovesToEnd, "partitions now belong to another member"},
	{"Settle/puts results where Publish would", memory.OtherPartition, "is in partition"},
	{"Settle/shows results and positions together", memory.PositionsLater, "but then the group was only past"},
	{"Settle/publishes without a batch", memory.SettleNeedsBatch, "no batch"},
	{"Settle/takes place once when it is called again", memory.CancelledSettleHalf, "results: got"},
	{"Settle/is found out about by Rewind when it was cancelled", memory.CancelledSettleHalf, "results: got"},
	{"Settle/is found out about by Rewind when it was cancelled", memory.SettlesLate, ""},
	{"Settle/publishes tens of thousands of results", memory.LargeSettleTruncated, "lost: key"},
	{"Rewind/returns the same records again", memory.RewindLoses, "after rewinding everything the lag is"},
	{"Close/forgets the batch", memory.CloseSkipsBatch, "after closing with an open batch"},
	{"Rebalance/shares the partitions of all topics alike", memory.SplitsCoPartitions, "the member is assigned"},
	{"Rebalance/lets a spare member take over", memory.PartitionsOrphaned, "waited 30s in vain"},
	{"Rebalance/waits for an open batch", memory.StealsOpenBatches, "the hand-over time is"},
	{"Rebalance/returns nothing that was handed over while it waited", memory.ReturnsHandedOver, "but the member is assigned"},
	{"Rebalance/hands over at once when a member closes", memory.CloseKeepsPartitions, "not once in ten attempts"},
	{"Rebalance/fences a silent member with a batch", memory.IgnoresFencing, "succeeded"},
	{"Rebalance/fences a silent member with a batch", memory.SilentKeepPartitions, "context deadline exceeded"},
	{"Rebalance/fences a silent member with a batch", memory.EpochStands, "the epoch is still"},
	{"Rebalance/fences a silent member without a batch", memory.FencesBatchesOnly, "succeeded"},
	{"Rebalance/fences a silent member although its heir is gone", memory.FencingForgotten, "succeeded"},
	{"Rebalance/fences a silent member although its heir is gone", memory.IgnoresFencing, "succeeded"},
	{"Rebalance/lets a lone member take its time", memory.FencesLoneMembers, "settle: "},
	{"Rebalance/keeps every key in order while members come and go", memory.ReordersAfterRebalance, "reordered"},
	{"Rebalance/keeps every key in order while members come and go", memory.TakesOverTooEarly, "duplicated"},
	{"Handover/waits until nothing of the partition is open", memory.GivesOpenBatches, "open batches: the other member polled"},
	{"Handover/waits until nothing of the partition is open", memory.PollsWhatMustGo, "not once in ten attempts"},
	{"Handover/waits until nothing of the partition is open", memory.PollsNothingMeanwhile, "not once in ten attempts"},
	{"Handover/waits until nothing of the partition is open", memory.StealsOpenBatches, "open batches: the other member polled"},
	{"Handover/happens in a Poll that waits", memory.SettleWakesNobody, "not once in ten attempts"},
	{"Handover/fences what is open of a partition that is taken and no more", memory.IgnoresFencing, "has lost partition"},
	{"Handover/fences what is open of a partition that is taken and no more", memory.FencesAllBatches, "the partition that the member has kept"},
	{"Handover/fences what is open of a partition that is taken and no more", memory.RewindDoesNothing, "context deadline exceeded"},
	{"Handover/fences what is open of a partition that is taken and no more", memory.RewindLoses, "context deadline exceeded"},
	{"Handover/fences a settle of all after any loss", memory.FencesItsMovesOnly, "succeeded"},
	{"Handover/says since when a partition is owned", memory.SinceStands, "was lost and regained"},
	{"Handover/says since when a partition is owned", memory.SinceMoves, "was never lost"},
	{"Driver/refuses what does not begin where the group stands", memory.SettlesPastHoles, "settle the second batch before the first succeeded"},
	{"Driver/refuses what does not begin where the group stands", memory.IgnoresFencing, "succeeded"},
	{"Restart/keeps what was acknowledged", memory.ForgetsPublishInCrash, "after a restart there are"},
	{"Restart/keeps what was acknowledged", memory.ForgetsSettleInCrash, "the lag is as before the restart"},
	{"Restart/keeps settles whole under load", memory.ForgetsPublishInCrash, "lost"},
	{"Restart/keeps settles whole under load", memory.ForgetsSettleInCrash, "duplicated"},
	{"Restart/keeps settles whole with many batches open", memory.ForgetsPublishInCrash, "lost"},
	{"Restart/keeps settles whole with many batches open", memory.ForgetsSettleInCrash, "duplicated"},
	{"Full disk/is an error until there is room", memory.SilentlyFull, "publishing to a full disk is an error"},
	{"Full disk/is an error until there is room", memory.NeverHeals, "when there is room"},
	{"Full disk/is an error until there is room", memory.ErrorClosesBatch, "the lag is 1, want 2"},
	{"Broker Close/wakes blocked calls", memory.CloseLeavesBlocked, "is still blocked"},
	{"Load/a pipeline of groups with publishers and observers", memory.PublishReorders, "reordered"},
	{"Load/a pipeline of groups with many batches open", memory.SettleReorders, "reordered"},
	{"Model/any order of calls does what the model says", memory.PublishReorders, "topic in has"},
	{"Model/any order of calls does what the model says", memory.ReadMissesPartition, " has ["},
	{"Model/any order of calls does what the model says", memory.LagStands, "the lag of group"},
	{"Model/any order of calls does what the model says", memory.JoinResetsPositions, "the lag of group"},
	{"Model/any order of calls does what the model says", memory.SeekOnlyFirst, "the lag of group"},
	{"Model/any order of calls does what the model says", memory.SeeksActiveGroup, "seek an active group succeeded"},
	{"Model/any order of calls does what the model says", memory.GroupsShared, ""},
	{"Model/any order of calls does what the model says", memory.PollReorders, "polled \"v"},
	{"Model/any order of calls does what the model says", memory.IgnoresWantRecords, "want at most"},
	{"Model/any order of calls does what the model says", memory.CancelSkips, ""},
	{"Model/any order of calls does what the model says", memory.SettleLosesResults, ""},
	{"Model/any order of calls does what the model says", memory.SettleKeepsPositions, "the lag of group"},
	{"Model/any order of calls does what the model says", memory.SettleMovesToEnd, "the lag of group"},
	{"Model/any order of calls does what the model says", memory.SettleNeedsBatch, "no batch"},
	{"Model/any order of calls does what the model says", memory.RewindLoses, "the lag of group"},
	{"Model/any order of calls does what the model says", memory.RewindDoesNothing, ""},
	{"Model/any order of calls does what the model says", memory.SettleReorders, "topic out has"},
	{"Model/any order of calls does what the model says", memory.BacklogCountsOpen, "are left to poll"},
	{"Model/any order of calls does what the model says", memory.CloseSkipsBatch, "the lag of group"},
}

// kept are the properties that package broker keeps by itself: they hold on every
// driver, and its own tests fail when they do not.
var kept = []string{
	"Settle/leaves the batch open when a result is too large",
	"Settle/leaves the batch open when a topic is unknown",
	"Broker Close/leaves nothing that works",
}

// A property that no broken broker has ever failed proves nothing.
func TestEveryPropertyCatchesItsFault(t *testing.T) {
	caught := make(map[string]bool)
	for _, c := range catches {
		caught[c.property] = true
		t.Run(c.property+"/"+string(c.fault), func(t *testing.T) {
			t.Parallel()
			check := propertyNamed(t, c.property).check
			// A bubble's clock: what waits in vain does so in no time.
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{TB: t}
				r.run(check, func(tb testing.TB) *Harness { return newMemory(tb, c.fault) })
				if !r.Failed() {
					t.Fatal("a broken broker passed")
				}
				if !strings.Contains(r.verdict(), c.verdict) {
					t.Fatalf("the verdict is not about the fault: it lacks %q:\n%s", c.verdict, r.verdict())
				}
			})
		})
	}
	for _, p := range properties() {
		if caught[p.name] == slices.Contains(kept, p.name) {
			t.Errorf("property %q catches a known fault: %v; package broker keeps it: %v", p.name, caught[p.name], !caught[p.name])
		}
	}
}

// A fault that no property catches is none, or a property is missing.
func TestEveryFaultIsCaught(t *testing.T) {
	for _, fault := range faults(t) {
		if !slices.ContainsFunc(catches, func(c catch) bool { return c.fault == fault }) {
			t.Errorf("no property is known to catch that %s", fault)
		}
	}
}

// faults reads the faults from their source, so that none is forgotten.
func faults(t *testing.T) []memory.Fault {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "internal/memory/faults.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []memory.Fault
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, memory.Fault(text))
		}
		return true
	})
	if len(list) < 80 {
		t.Fatalf("read %d faults, which cannot be all", len(list))
	}
	return list
}

func propertyNamed(t *testing.T, name string) property {
	t.Helper()
	for _, p := range properties() {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("no property is named %q", name)
	return property{}
}
