// Package stream implements the streams of a smux session. A [Stream] is a complete net.Conn with half-close,
// io.WriterTo and io.ReaderFrom.
//
// Only Read, Write, WriteTo, ReadFrom and Flush block; with WriteThrough of [Shared], CloseWrite and Close do, too. They
// return when they have done their work, and when the session ends. The first four also return at their deadline and when
// the Stream is closed, Flush when its context ends, and CloseWrite and Close after Linger of [Shared]. An idle Stream holds
// no buffers.
//
// # The life of a stream
//
// A Stream is two halves. The peer's FIN ends the receiving half, and this side's FIN ends the sending half:
//
//	recvOpen -------FIN------> recvComplete
//	   |                           |
//	CloseRead, Close           CloseRead, Close
//	   v                           v
//	recvDiscarding ---FIN----> recvDone
//
//	sendGivenUp
//	   ^
//	 Linger
//	   |
//	sendOpen --CloseWrite, Close--> sendFINDue --FIN--> sendFINSent
//	   |                                |                    |
//	 Refuse           FIN, FIN (closed by then)          Close
//	   v                                v                    v
//	sendRefusalDue --refusal------> sendDone <---FIN--- sendFINDueAgain
//
// Closed means that both directions are closed on this side: the second FIN says so. It is left out if the peer's FIN has
// arrived. A stream in sendGivenUp has waited for the peer's window for [Shared].Linger after the peer's FIN. A refusal is
// four frames: PSH without data twice, then FIN twice.
//
// # For authors of sessions
//
// Most callers should use package session instead of what follows.
//
// A session uses a Stream through its [Core]. It hands the Core what arrives (Deliver, or Reserve and Commit;
// HandleEmpty, HandleFIN, HandleUpdate; Abort), and asks it for frames to send (AppendControl, AppendData), which the
// Core adds to a [wire.Batch]. [Shared] is what all streams of a session have in common. Through a [Notifier], a Stream
// tells its session what it needs; one that is also a [Deliverer] makes [Stream.Flush] work. Package session is one implementation of a session, the example of this package is
// another. This package starts no goroutine, and no method of a Core blocks.
package stream
