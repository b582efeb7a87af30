// Package faults is what is done to a runtime from outside. Its [Link] is the network path between one instance
// and the brokers: it wraps the dial function of every client of the instance and can be cut, slowed down, healed and
// reset while connections are in use. Its [Rules] act on chosen requests and answers that pass the links. A [Fault] is
// either, as it is written in a plan.
//
// # What a cut does
//
// A link behaves as TCP does across a network that loses every packet, not as a socket that fails:
//
//   - A dial hangs until the link heals or its context ends, whichever direction is cut: the handshake needs both.
//   - A Write goes to a send buffer of 256 KiB and succeeds. Once that is full it blocks until its deadline. After the heal
//     the buffer is delivered in order: these bytes are late, a request among them is a zombie's.
//   - A Read hangs until its deadline. What the broker sends meanwhile waits, 256 KiB of it, and can be read after the
//     heal; the end of the stream waits behind it.
//   - Close returns at once and does not discard. What is in the send buffer is delivered after the heal, then the
//     broker sees the end of the stream. After 100 s the buffer is given up, as by a kernel that
//     retransmits no more, and the broker sees a reset once the link heals.
//   - What was already on its way to the broker when the cut came, at most 256 KiB, still arrives.
//
// [Out] and [In] cut only what goes to the broker or only what comes from it; the other direction goes on as if
// nothing had happened. A [Link.Reset] ends all connections at both ends, at once, also during a cut.
//
// # What an impairment does
//
// An [Impairment] is in force for a time, for all brokers or one, and adds up with others and the cut:
//
//   - Delay and jitter: bytes arrive later, in order, and so does the end of the stream that the broker sends. A dial
//     takes a round trip. Besides the send buffer up to 4 MiB may be under way, or what the rate lets through in that
//     time. What is under way when a cut comes arrives after the heal.
//   - Rate: a token bucket for each direction, which the connections share. What does not pass fills the send buffer,
//     and then writes block; in the other direction the broker's writes block.
//   - Half-open: the send buffer fills and nothing is delivered, not even the end of the stream.
//
// # What a rule does
//
// A [Rule] matches requests by what their frames say: the API, the client's id, and if need be the transactional id,
// the topics and the end of the transaction in the body. It rejects the request, holds it back, closes the connection,
// or lets the broker answer and then rewrites, delays or drops the answer. To the client everything looks as if the
// broker had done it: answers keep their order, and a rewritten one differs in nothing but its error codes. So
// that this holds also for a rule that is added while connections are in use, the lengths of frames are counted on a
// link that has been given rules (see count.go). A link that has not been given any looks at nothing.
//
// All versions that package kmsg knows are understood. What is not, passes: APIs and versions of tomorrow, bodies that
// are not what their headers say, SASL tokens without headers, and anything that is no frame at all. With TLS frames
// can be read only above it, see [OverTLS].
//
// # How it is built
//
// A connection that nothing is done to hands each call to the connection below it, and costs two short locks a call. No
// goroutine belongs to it. Only a cut or an impairment brings buffers, and goroutines only while there is something to
// move (see pump.go). The tap of a connection (tap.go) does nothing but compute what becomes of the bytes: it has
// neither goroutines nor locks nor time. Deadlines are those of the connection below as long as calls reach it, and
// kept here otherwise. No mutex is held while anything waits, so links work in a testing/synctest bubble over net.Pipe
// as well as over TCP.
package faults
