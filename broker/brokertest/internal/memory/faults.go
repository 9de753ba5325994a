// SPDX-License-Identifier: Apache-2.0

package memory

// Fault is a promise of the contract that a broker breaks on purpose.
type Fault string

// Publishing and topics.
const (
	LimitTooLow          Fault = "the limit itself is too large"
	LimitTooHigh         Fault = "one byte over the limit is taken"
	OtherPartition       Fault = "records go to another partition than they are meant for"
	OffsetOffByOne       Fault = "Publish returns an offset one too high"
	KeepsCallersBytes    Fault = "the caller's bytes are kept"
	DropsRepeatedHeaders Fault = "only the first header of a name is kept"
	PublishReorders      Fault = "Publish appends the call's records in reverse"
	LosesRecords         Fault = "every hundredth record is lost"
	TimeGoesBack         Fault = "Time goes back"
	CreatesUnknownTopic  Fault = "an unknown topic is created"
	IgnoresTopicConflict Fault = "another number of partitions is no conflict"
	CreateEmptiesTopic   Fault = "creating a topic again empties it"
	KeepsOldRetention    Fault = "another retention is not taken over"
	EndOffByOne          Fault = "Topics tells an end one too low"
	RefusesLongNames     Fault = "a name of 200 characters is refused"
)

// Reading without a group.
const (
	ReadFromOffByOne    Fault = "Read begins one record too late"
	ReadToIncluded      Fault = "Read includes the position to"
	ReadEndMoves        Fault = "Read to the end follows the end"
	ReadMissesPartition Fault = "Read of all partitions leaves one out"
	ReadCancelSkips     Fault = "a Next whose context ended skips records"
	TimeExcluded        Fault = "At is behind the records of that time"
	ReadersNotWoken     Fault = "a publish wakes nobody"
	NextIgnoresMax      Fault = "Next returns more than max"
)

// Groups.
const (
	IgnoresStart        Fault = "a new group always begins at the start"
	EndAtFirstPoll      Fault = "a group from the end begins where the end is at its first Poll"
	NewTopicAtEnd       Fault = "a topic that an old group adds begins at the end"
	GroupsShared        Fault = "all groups are one"
	JoinResetsPositions Fault = "Join moves positions that exist"
	GroupsOnlyActive    Fault = "Groups leaves groups without members out"
	LagStands           Fault = "lag does not fall"
	LagOfPositionsOnly  Fault = "Lag leaves out partitions without a position"
	LagWithoutMembers   Fault = "Lag names no members"
	LagCountsMarkers    Fault = "lag counts what is no record, such as a transaction's marker"
	SeeksActiveGroup    Fault = "Seek moves an active group"
	SeekIgnored         Fault = "Seek does nothing"
	SeekOnlyFirst       Fault = "Seek moves the first partition only"
	SeekFirstForAll     Fault = "Seek takes the first partition's position for all"
	SeekUnsetIsStart    Fault = "Seek takes an unset position for the start"
	SeekNeedsGroup      Fault = "Seek of a group that nobody joined does nothing"
)

// Polling.
const (
	IgnoresWantRecords Fault = "Want.Records is ignored"
	IgnoresWantBytes   Fault = "Want.Bytes is ignored"
	HugeNeverFits      Fault = "a record larger than Want.Bytes is never returned"
	IgnoresWait        Fault = "Want.Wait is ignored"
	IgnoresPause       Fault = "Want.Pause is ignored"
	PollReorders       Fault = "Poll returns a batch in reverse"
	WaitsTooLong       Fault = "a full batch waits for more"
	ReusesBuffers      Fault = "Poll writes over what it returned before"
	CancelReturnsBatch Fault = "a Poll whose context ended returns what it has"
	CancelSkips        Fault = "a Poll whose context ended skips records"
	BacklogStands      Fault = "the backlog is always 0"
	BacklogCountsOpen  Fault = "the backlog counts what was polled before"
	TopicsInTurn       Fault = "topics are taken in turn, not by age"
)

// Settling.
const (
	SettleLosesResults   Fault = "Settle loses a result"
	SettleKeepsPositions Fault = "Settle publishes without moving the positions"
	SettleMovesToEnd     Fault = "Settle moves past records that were not polled"
	CancelledSettleHalf  Fault = "a Settle whose context ended publishes without moving"
	PositionsLater       Fault = "positions move later than results appear"
	ErrorClosesBatch     Fault = "a refused Settle moves past the batch"
	SettleNeedsBatch     Fault = "Settle without a batch is refused"
	LargeSettleTruncated Fault = "only the first 10,000 results are published"
	SettlesPastHoles     Fault = "a batch is settled before those polled before it"
	SettleMovesToPolled  Fault = "Settle moves past all open batches"
	SettlesInTurn        Fault = "a batch is refused until all that were polled before are settled"
	SettleReorders       Fault = "Settle appends the results in reverse"
	SettlesLate          Fault = "a Settle whose context ended takes place later, whatever comes"
	RewindLoses          Fault = "Rewind moves past the batch"
	RewindDoesNothing    Fault = "Rewind does nothing"
	CloseSkipsBatch      Fault = "Close moves past the batch"
)

// Rebalancing.
const (
	GivesOpenBatches       Fault = "Poll hands over partitions that have open batches"
	PollsWhatMustGo        Fault = "partitions that others wait for are polled further"
	PollsNothingMeanwhile  Fault = "nothing is polled while another member waits for a partition"
	SettleWakesNobody      Fault = "a Poll that waits does not hand over what a Settle has emptied"
	SplitsCoPartitions     Fault = "partition i of two topics goes to two members"
	ReordersAfterRebalance Fault = "the first batch after a rebalance is in reverse"
	StealsOpenBatches      Fault = "partitions are taken from members with open batches at once"
	SilentKeepPartitions   Fault = "a silent member keeps its partitions for ever"
	IgnoresFencing         Fault = "a zombie may settle"
	FencesAllBatches       Fault = "who has lost a partition is fenced in the others"
	FencesItsMovesOnly     Fault = "a settle of all is fenced for its own partitions only"
	FencesLoneMembers      Fault = "a member is fenced after the hand-over time although it is alone"
	FencingForgotten       Fault = "a zombie may settle when its heir is gone"
	FencesBatchesOnly      Fault = "a zombie may settle without a batch"
	CloseKeepsPartitions   Fault = "Close hands over only after the hand-over time"
	PartitionsOrphaned     Fault = "the partitions of a member that closed stay without one"
	TakesOverTooEarly      Fault = "the next owner of a partition begins one record too early"
	ReturnsHandedOver      Fault = "a Poll that waits returns what it handed over meanwhile"
	EpochStands            Fault = "the epoch never changes"
	SinceStands            Fault = "a partition that is regained is owned since it was first"
	SinceMoves             Fault = "all partitions are owned since the last rebalance"
)

// Crashes, full disks and closing.
const (
	ForgetsPublishInCrash Fault = "a crash loses the last records"
	ForgetsSettleInCrash  Fault = "a crash loses the last settle's positions"
	SilentlyFull          Fault = "a full disk drops records silently"
	NeverHeals            Fault = "a full disk stays full"
	CloseLeavesBlocked    Fault = "Close leaves calls blocked"
)
