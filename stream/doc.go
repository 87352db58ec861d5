// Package stream has the Stream of a smux session: a net.Conn whose bytes travel
// in frames that a session sends and receives for it.
//
// A Stream is two things to two callers. To the application it is a [Stream]: a
// complete net.Conn with half-close, io.WriterTo and io.ReaderFrom. To the session
// it is a [Port]: the session hands it what arrived (Deliver, or Lend and Commit,
// then End, WindowUpdate, Abort) and asks it for what to send (Control, Data),
// which goes into a [Batch] of frames for one transport write.
//
// The package needs little of a session, and says what in [Link]; package session
// is one implementation, and yours may be another. It starts no goroutine, and
// none of its calls blocks on the transport: only Read, Write, WriteTo and ReadFrom
// block, until what they wait for has happened, their deadline has passed, the
// Stream was closed, or the session has ended.
//
// An idle Stream holds no buffers.
package stream
