// Package soak is the experiment: it puts brokers, the instances of an application with their links, a load, a schedule
// of cuts and faults, and the verifier together into a [Session], and judges it in a [Report].
//
//	config.go, config*.go, validate.go, flags.go, specs.go   what is asked for
//	schedules.go, script.go                                  what is done to the instances, by name or as a list
//	session.go                                               opening and the calls from outside
//	run.go, schedule.go, drain.go                            what happens over time, in one goroutine
//	observe.go, snapshot.go, cuts.go                         what is seen of it
//	metrics.go, metricsserver.go                             the same for Prometheus
//	cluster.go, load.go, injector.go                         brokers, load, faults in threads
//	program.go                                               the topology that runs
//	report.go, junit.go                                      what is left in the end
//	simulate.go, simulate_bubble.go                          a session on virtual time
//	shrink.go, repeat.go                                     how to see a failure again
package soak
