// Package verify proves, while an application runs, that every input record had its effect exactly once. It reads
// the application's topics raw, as any consumer can, derives from the markers what is committed, and knows nothing of the runtime's inside.
//
// The load generator gives every input a Provenance, which the program's operators forward to all that comes of it.
// A Model of the program says which outputs an input owes. The parts, innermost first:
//
//	provenance.go  the header that names an input
//	model.go       what a program must have written, behind an interface. The programs: soak.go with
//	               soakgroups.go, soakcached.go and soakstate.go, passthrough.go, wordcount.go with words.go, eostest.go
//	ledger.go      numbers of which only some states are shown, in an order that nobody sees
//	backlog.go     the effects of the inputs of one partition that are not all seen yet; all memory that follows the lag
//	judge.go       counters, witnesses and the verdict
//	tracker.go     the inputs and what they owe
//	match.go       outputs and their inputs: duplicate, lost, out of order, wrong value, unexpected
//	merged.go      outputs that joined a later transaction than their own
//	anonymous.go   the same where nothing carries a provenance
//	hold.go        outputs that were seen before what they depend on
//	closing.go     what inputs owe that have had all their effects
//	undone.go      what was aborted, and what may not be made of it
//	remembered.go  a bounded memory of names
//	reader.go      the consumer: explicit offsets, no group, no silent reset
//	transactions.go  what is committed in a log, by its markers
//	hanging.go     transactions that nobody ends
//	looks.go       what the cluster says meanwhile, put in order with what was read. By it: covered.go, effects of inputs that no
//	               committed offset covers, with furthest.go; expelled.go, what members commit after they were expelled
//	probe.go       where the logs end, to decide about what is held
//	barrier.go     which inputs have had all their effects
//	digest.go      store = changelog = model
//	verifier.go    the owner goroutine of all the above; finish.go is its end
//	stored.go      the same for what an application has left: scene.go is what the cluster says before it is read, openended.go the
//	               transactions that are open then, storedmodel.go the judgement by a model, audit.go that without,
//	               with sequences.go and spans.go
//
// Everything up to closing.go is free of Kafka, clocks and goroutines.
//
// # Rules
//
// An input has effects on units: keys of the soak and eostest programs, wordcount's words of an input partition, passthrough's pairs of
// partitions. The outputs of a unit on one stream come in the order of its inputs. For every stream and effect:
//
//	duplicate     a second output of the same effect
//	lost          an owed output that had not come when one of a later input of the same unit came, or when the input had
//	              had all its effects, or at the end
//	out_of_order  an output that comes after one of a later input of the same unit
//	wrong_value   the output's key or value is not what the model says
//	unexpected    an output of an unknown input, or one that the input does not owe
//	state_mismatch  at the end: a store, its changelog and the model differ
//	aborted_read  the output of an input whose transaction was aborted
//	torn          a lost output that is there, in a transaction that was aborted: the one that took the input was not. Or a
//	              transaction without its offsets: see below
//	merged        a transaction holds an output that its offsets do not cover. Records of a later epoch have joined it, or its marker
//	              is of a transaction after the next one: each has an epoch of its own, or that of the one before. Or the output goes on
//	              where the same producer had aborted under the same epoch, before anybody had made anew what was aborted, and then
//	              it, or one before it in its unit, came again: it was on its way when its own transaction was aborted (KIP-890,
//	              KAFKA-17754). Or it stands with others on both sides of the group's offset: see below
//	zombie_write  a committed output of a producer that was fenced, or of a member that was expelled, before it was written: see below. Or an
//	              offset of the group that goes back: whoever is given a partition goes on from what is committed, so that
//	              somebody has committed who was given it before that
//	hanging       a transaction that is open for longer than its time-out and the coordinator's scan: the verdict is unknown
//	              meanwhile
//
// With Config.Group the verifier follows inputs through the program: the group has committed them, then what was in the
// first repartition topic at that time, and so on, and then the outputs were read to where they ended. What an input owes
// and was not seen by then is lost, also where no later output shows it.
//
// It also asks each second, and at the end, for the offsets that are committed and stable, after it has read the marker that committed an
// output. The transaction had sent its offsets before. So an input at or behind the offset is none that it has taken, nor anybody else:
// the transaction is merged, or torn if it holds nothing of what lies before the offset. That is only seen while it lasts,
// until the input is processed again; what is made of it then is a duplicate.
//
// # Zombies
//
// A producer is fenced where a record or a marker of a later epoch is before its record in the partition. Partitions are read at different
// speeds, so that a later epoch in another partition proves something only if the order is known: each second the verifier asks where the logs
// end, and what is written behind that was written after all that had been read before it asked.
//
// With Config.TransactionalIDs it asks for the members of the group, too. A member was expelled if its transaction was begun behind the ends
// of the logs as of one look, and its marker was read before another look, while in neither its transactional id was in anybody's
// subscription, and there was no rebalance between them in which it could have been: the members say which generation they came from
// (KIP-792). A transaction that was begun before the expulsion proves nothing, for its offsets may have been sent in
// time, nor does one between two looks among which the group has rebalanced more than once. Under guarantee exactly_once ids go with tasks, and
// are not announced before they are used, so that only epochs count. Of what was left in topics, nothing is known of members.
//
// # Caches
//
// With Config.Cached a record cache swallows intermediate results. An output of an input must be what the model says for
// it, and one of a later input of the same unit stands for those before. What is not shown for single inputs (the numbers
// of a group of keys, the count of a word in several partitions) is bounded: it lies between what must have gone in
// by then and all that there is, never falls, and is known exactly at the end. So an intermediate value of these that
// is altered within its bounds is not noticed, a final one is.
//
// # At least once
//
// Under at_least_once only streams with an output for each input are judged: a missing one is lost, further ones are
// counted as duplicates and are no violation. Neither order nor values are checked there, except of a program without
// state: processing again shifts counts, sums and the points at which a filter lets them pass, and a former owner's late
// writes to a changelog can take a later one back. Of counts that come out of a cache only that there is none is noticed.
// Stores are compared with their changelogs only, and only those that have had one owner.
//
// # No provenance
//
// Where neither the first inputs nor a load of one's own carry a provenance, as with applications that others feed, the
// model judges alone: outputs are matched with the oldest input that owes one like it. Then the order of equal records,
// and which of them is missing, is not known, and of the soak program's group sums only that they rise and how they end.
// Inputs without it among others that have it, and keys that are in several partitions, make the verdict unknown.
//
// The verdict is unknown, too, when it could not be decided: inputs or outputs before the first readable offset are gone, a
// transaction stays open, or the cluster does not answer.
package verify
