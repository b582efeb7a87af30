// Package verify proves, while an application runs, that every input record had its effect exactly once. It reads
// the application's topics as any consumer with read_committed would and knows nothing of the runtime's inside.
//
// The load generator gives every input a Provenance, which the program's operators forward to all that comes of it.
// A Model of the program says which outputs an input owes. The parts, innermost first:
//
//	provenance.go  the header that names an input
//	model.go       what a program must have written, behind an interface; soak.go and groups.go are the soak program
//	backlog.go     the inputs of one partition whose outputs are not all seen yet; all memory that follows the lag
//	judge.go       counters, witnesses and the verdict
//	tracker.go     matches outputs with inputs: duplicate, lost, out of order, wrong value, unexpected
//	hold.go        outputs that were seen before what they depend on
//	reader.go      the consumer: explicit offsets, no group, no silent reset
//	digest.go      store = changelog = model
//	verifier.go    the owner goroutine of all the above; finish.go is its end
//
// Everything up to hold.go is free of Kafka, clocks and goroutines.
//
// # Rules
//
// All input of one key flows through one partition at every hop, so the outputs of a key on one stream come in the
// order of its inputs. For every stream and input:
//
//	duplicate     a second output of the same input
//	lost          an owed output that had not come when one of a later input of the same key came, or at the end
//	out_of_order  an output that comes after one of a later input of the same key
//	wrong_value   the output's key or value is not what the model says
//	unexpected    an output of an unknown input, or one that the input does not owe
//	state_mismatch  at the end: a store, its changelog and the model differ
//
// Under at_least_once only streams with one output for each input are judged: a missing one is lost, further ones are
// counted as duplicates and are no violation. Values are not checked there, for processing an input again shifts
// counts, sums and the points at which a filter lets them pass; stores are compared with their changelogs only.
//
// The verdict is unknown when it could not be decided: inputs or outputs before the first readable offset are gone,
// inputs carry no usable provenance, a transaction stays open, or the cluster does not answer. From the first input
// without usable provenance on, outputs are counted but not judged.
package verify
