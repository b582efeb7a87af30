// Package topologytest runs a program in memory, without brokers, threads or transactions: what Kafka Streams has as
// TopologyTestDriver. Records are processed on the caller's goroutine and everything that follows from a record,
// through all repartition topics, has happened when [Driver.Pipe] returns.
package topologytest
