// Package runtime is a streams runtime with exactly-once semantics: several instances with several stream threads each
// run a topology over Kafka's protocol, with the states, the task life cycle and the names of Kafka Streams. It knows
// nothing of who watches it or what is done to it.
//
//	inst, err := runtime.New(cfg, program, runtime.Env{Brokers: []string{"localhost:9092"}})
//	err = inst.Start(ctx)
//	...
//	err = inst.Close(ctx)
//
// # Data flow
//
// A [StreamThread] polls its consumer, hands each record to the task of its partition, and the task runs it through the
// processors of its sub-topology (package topology). What they write goes to a producer: to sinks, to repartition
// topics, and for each store to its changelog. Writes to a store stay in a transaction buffer (package state). Once a commit
// interval the thread commits what it has done, see commit.go; only then do the stores take their buffers. So a
// store on disk is always a committed prefix of its changelog, and after an abort, a fence, a cut or a crash nothing is
// wiped: only the missing tail is restored.
//
// # Guarantees
//
// Under exactly_once_v2 all tasks of a thread write through one transactional producer and commit together; the group
// coordinator refuses the offsets of a member that was expelled. Under exactly_once each task has a producer of its own, whose
// transactional id goes with the task: the next owner's producer fences the one before, so a producer is opened only for a
// task that the group has assigned, and one that was fenced is opened again only once the group has said anew whose the task
// is. Under at_least_once there are no transactions; offsets are committed as a member of the group. The place of a producer
// over all its incarnations is a producerSlot (slot.go).
//
// # Ownership
//
// One goroutine per StreamThread owns its tasks, its producers' transactions and its consumer's poll. Another one, its state
// updater, owns the restore consumer and the stores of the tasks that are being restored or stand by; stores change hands
// with the task that they belong to (statemanager.go). Two things are done beside the thread's goroutine while it waits or goes on,
// and handed back to it: a producer is opened (slot.go), and the commits of several producers go on at the same time (commit.go),
// so that one coordinator which does not answer holds nobody else up (TestOneTaskThatHangsHoldsUpNoOther). Everybody else reads
// what the thread publishes: counters, metrics (measure.go), an immutable status, events in the journal. The group client's callbacks hand their news over and wait until the thread has handled
// them (rebalance.go): no commit can slip behind a rebalance. Nothing waits for the network with a mutex held, and every
// call to a broker has a deadline.
//
// # Clients of a thread
//
//   - membership.go: joins the group with our own assignor and heartbeats; it fetches nothing.
//   - the consumer of the inputs, and the restore consumer of the changelogs: each is given its partitions by hand, at offsets
//     that the broker has told.
//   - producer.go: the producer. Any error makes it useless: it is closed and opened anew, never repaired.
//
// # Rules that exactly-once rests on, and their tests
//
//   - A transaction of exactly_once_v2 is committed under the member id and generation under which its tasks were assigned,
//     never without (KIP-447), and not at all on brokers that do not know these. A member id that has changed, or a generation
//     that this member has never heard of, means that the tasks were lost meanwhile, whatever the client says.
//     TestCommitRefusesWithoutFence, TestABrokerThatIsTooOld,
//     TestShouldNotViolateEosIfOneTaskGetsFencedUsingIsolatedAppInstances, TestShouldNotViolateEosIfAThreadStallsThroughARebalance
//   - Under exactly_once the transactional id fences, and the member id and generation do, too, where the broker takes them: the next
//     owner may be of exactly_once_v2. TestShouldUpgradeFromEosAlphaToEosV2
//   - A task that somebody claims, in whatever generation, is given to nobody else before that member has let go of it.
//     TestOutdatedClaimIsWithheld, TestWithhold, TestRebalancesConverge
//   - Requests that send offsets or end a transaction are never repeated: a late one could decide the next transaction
//     (KAFKA-17754). An unanswered one leaves the outcome unknown, and the broker is asked. TestErrorsInOffsets, TestErrorsInCommit
//   - Positions come from the broker (require_stable), never from memory, whenever a task starts or starts over.
//     TestErrorsInCommittedOffsets, TestATransactionThatHangsIsNamed
//   - A restore reads to the log end as a read_uncommitted consumer sees it, with a read_committed reader (KAFKA-10167).
//     TestARestoreWaitsForAnOpenTransaction
//   - A store on disk is a committed prefix of its changelog. TestACrashRestoresOnlyTheTail, TestACrashWithAnOpenTransaction
//   - Errors are classified by their root cause at one place, errors.go; of joined ones the gravest decides. Clean-up paths raise no
//     new error. TestErrorsByTheirCause, TestClassifyJoined, TestErrorsInStoreFlushes, TestErrorsInAbort, TestErrorsInClose
//   - What is registered for a store goes away with its task, whatever became of the store. TestMetricsByRecordingLevel
//   - The group's leader fences the producers of members that are gone, unless they have said that nothing is to come, and nobody
//     else's. TestLeaderFencesWhatExpelledMembersLeft, TestACleanLeaverIsNotFenced, TestANewLeaderKnowsWhomToFence
//
// # Where Kafka Streams' classes are
//
//	KafkaStreams                Instance (instance.go, elastic.go, uncaught.go)
//	StreamThread, TaskManager   StreamThread (thread.go, prepare.go, rebalance.go, commit.go, recover.go, shutdown.go)
//	StreamTask, StandbyTask     streamTask (task.go), standbyTask (standby.go)
//	StreamsProducer             streamsProducer (producer.go), producerSlot (slot.go)
//	RecordCollector             streamTask.Send, taskStore.log, StreamThread.judgeSend (handlers.go)
//	ProcessorStateManager       stateManager (statemanager.go), taskStore (taskstore.go) and package state
//	DefaultStateUpdater         stateUpdater (updater.go)
//	StoreChangelogReader        restoration (restore.go)
//	StreamsPartitionAssignor    groupBalancer (balancer.go), InternalTopicManager: program (program.go)
//	HighAvailabilityTaskAssignor, StickyTaskAssignor  assignTasks (assignor.go and its parts)
//	ThreadCache                 package state, recordCache (recordcache.go)
//	StreamsMetricsImpl          package metrics, measure.go
package runtime
