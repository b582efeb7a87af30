// Package journal records what happens inside a streams runtime as typed events.
//
// A [Journal] is a fixed ring of the newest events. Threads, state stores and faults emit into it; a dashboard
// reads it at its own pace. Emitting never blocks and never does I/O, so it may be called from an owner loop.
// The journal is meant for transitions (states, assignments, transactions, faults), some hundreds a second;
// per-record facts are counters elsewhere.
//
// A [Log] is the session log: every event and one snapshot a second, as JSON lines. It keeps the newest lines in
// memory up to a budget, so that they can be exported at any time, and can stream all of them to a file.
//
// # Session log
//
// The file is UTF-8 text, mode 0600, one JSON object a line. The field "type" tells the lines apart.
//
// The first line is the header:
//
//	{"type":"header","schema":1,"at":TIME,"dropped":N,"session":{...}}
//
// "schema" is the version of this description. "at" is the time when the log began. "dropped" is the number of
// lines between the header and the next line that were given up for memory; 0 means that the log is complete.
// "session" is what the owner of the log passed to [NewLog]: configuration, versions, seed.
//
// An event is one flat object; a field that is absent has its zero value:
//
//	{"type":"event","seq":17,"at":TIME,"kind":"thread_state","level":"info",
//	 "instance":"i1","thread":"i1-StreamThread-2","task":"1_0","store":NAME,
//	 "from":"RUNNING","to":"PARTITIONS_REVOKED",
//	 "transactional_id":ID,"producer_id":4000,"epoch":3,
//	 "cause":"fenced","error":TEXT,"count":12,"duration_ms":1.5,"text":TEXT}
//
// "seq" rises by one with each event of a journal; a gap means lost events. "kind" is one of the [Kind] constants,
// beside which stands what the other fields mean for it. "level" is debug, info, warn or error.
//
// A snapshot is what the owner of the log passed to [Log.Snapshot], once a second:
//
//	{"type":"snapshot","at":TIME,"snapshot":{...}}
//
// TIME is RFC 3339 with nanoseconds. Lines are in the order in which they were logged. Where a header or a
// snapshot could not be encoded, "error" says why and "session" or "snapshot" is absent. Readers must ignore
// fields and types that they do not know.
package journal
