// Package broker runs an embedded Kafka inside the process: kfake, the fake cluster of franz-go, with what it takes to
// let it run for days under exactly-once.
//
// kfake is a plain dependency and differs from a real Kafka in a few places that matter here. The package works around
// them instead of patching them:
//
//   - Compaction forgets about open transactions and about abort markers, so a compacted changelog can lose
//     committed state. No topic is ever compacted: [Broker.CreateTopic] and requests of clients alike create topics
//     without cleanup.policy=compact, so that a client that asks for the topic's configuration sees that it has to bound
//     the topic itself.
//   - Its files live in memory and grow by doubling, and records are freed a whole segment at a time. Segments are
//     therefore small, whatever a topic asks for, and [Broker.Trim] frees what nobody needs any more. Nothing
//     expires on its own.
//   - With the transaction protocol of Kafka 4 a time-out at the last epoch of a producer id makes the broker spin.
//     The default version is 3.7, where epochs stay constant.
//   - Its virtual network reports a refused connection as an error that a client takes for final. [Broker.Dial]
//     reports it as an operating system would.
//   - A member whose join or sync waits for another member is expelled after its session time-out and never answered, as
//     nobody heartbeats while waiting. Heartbeats are sent in its name.
//   - A batch of a fenced producer is refused with INVALID_TXN_STATE, where its partition is in no transaction of the present
//     epoch. It is answered with INVALID_PRODUCER_EPOCH, as far as a later epoch was seen in a request.
//   - A node that was removed goes on to answer on its connections, with NOT_COORDINATOR for good. They are ended.
//   - Markers, aborts and coordinators are never slow. [Broker.SlowMarkers], [Broker.SlowAborts], [Broker.LoadCoordinators] and
//     Config.Settle make them so.
//   - An administrative call on a closed cluster never returns. Here it returns [ErrClosed].
//
// On the virtual network, which is the default, everything works inside a testing/synctest bubble.
package broker
