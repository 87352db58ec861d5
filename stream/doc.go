// Package stream has the Stream of a smux session: a net.Conn whose bytes travel
// in frames that a session sends and receives for it.
//
// An application uses a [Stream]: a complete net.Conn with half-close, io.WriterTo and
// io.ReaderFrom. Only Read, Write, WriteTo and ReadFrom block: until what they wait for has
// happened, their deadline has passed, the Stream was closed, or the session has ended. An idle
// Stream holds no buffers.
//
// # The life of a stream
//
// A Stream is two halves. The receiving half ends with the peer's FIN, the sending half with this
// side's:
//
//	recvOpen -------FIN------> recvComplete
//	   |                           |
//	CloseRead, Close           CloseRead, Close
//	   v                           v
//	recvDiscarding ---FIN----> recvDone
//
//	sendOpen --CloseWrite, Close--> sendFINDue --FIN--> sendFINSent
//	                                    |                    |
//	                        FIN, FIN if closed             Close
//	                                    v                    v
//	                                sendDone <---FIN--- sendFINDueAgain
//
// # For authors of sessions
//
// Most callers should use package session instead of what follows.
//
// To its session a Stream is a [Core]. The session hands it what arrived (Deliver, or Reserve and
// Commit, then HandleFIN, HandleUpdate, Abort) and asks it for what to send (AppendControl, AppendData),
// which goes into a [wire.Batch] for one transport write. [Shared] is what all streams of a session have in
// common, [Notifier] what a stream needs of its session. Package session is one implementation of a session; the
// example of this package is another one. The package starts no goroutine, and none of its calls waits for
// the transport.
package stream
