// Package faults is what is done to a runtime from outside. Its [Link] is the network path between one instance
// and the brokers: it wraps the dial function of every client of the instance and can be cut, healed and reset
// while connections are in use.
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
// # How it is built
//
// An uncut connection hands each call to the connection below it, and costs two short locks a call. No
// goroutine belongs to it. Only a cut brings buffers, and goroutines only while there is something to move (see
// pump.go). Deadlines are those of the connection below as long as calls reach it, and kept here otherwise. No
// mutex is held while anything waits, so links work in a testing/synctest bubble over net.Pipe as well as over
// TCP. With TLS the wrapped dial function should return the TLS connection: its handshake then is part of the
// dial.
package faults
