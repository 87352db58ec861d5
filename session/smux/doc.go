// Package smux has the API of github.com/xtaci/smux, and runs on smuxkit. A program that uses the original changes its
// import path, or its go.mod alone:
//
//	replace github.com/xtaci/smux => github.com/smuxkit/smuxkit/session/smux v0.1.0
//
// Names, signatures, defaults and limits are those of the original's version 1.5.58, and so are the errors that programs
// compare with ==: [ErrTimeout], io.ErrClosedPipe, io.EOF, [ErrGoAway], [ErrInvalidProtocol]. The protocol is the same,
// version 1 by default: each end of a connection changes without the other. The module's internal/dropin runs the
// original's own tests against this package.
//
// As with the original, Write returns when the transport has taken the data, and [Session.Close] closes the transport at
// once.
//
// # What differs
//
//   - A session whose transport has ended is closed: [Session.IsClosed] is true, and [Session.CloseChan] and the channels
//     of GetDieCh are closed at once. The original notices it at KeepAliveTimeout. Unread data can still be read.
//   - A frame that breaks the protocol ends the session, and closes the transport.
//   - The bytes of one Write are not mixed with those of another Write of the stream.
//   - Write to a stream that the peer has closed in both directions fails with io.ErrClosedPipe. A peer that runs this
//     package or smuxkit says so; the original does not say it after Close alone.
//   - Read fails at its deadline also if there is unread data. The data is returned after a later deadline was set.
//   - Read returns all the data that there is, as far as it fits. The original's returns that of one frame at most, so
//     programs that take one Read for one Write, which no stream promises, work only with the original.
//   - More than 65,536 streams that the peer has open at the same time are refused. The original stops reading its
//     transport when 1,024 streams wait for AcceptStream.
//   - OpenStream returns before its SYN is sent. It waits while 1,024 of them have not been sent.
//   - A client sends a NOP at once, also with KeepAliveDisabled. The original is silent until it opens a stream or its first
//     KeepAliveInterval has passed.
//   - One Write of the transport may get several whole frames. If the transport is no *net.TCPConn, *net.UnixConn or
//     *tls.Conn, a Write gets at most MaxFrameSize and 8 bytes, which is one frame of the original, but at least 64 bytes,
//     and 32 more if MaxFrameSize is the default or larger.
//   - The first stream ids are 1 and 2; the original begins with 3 and 2.
//   - MaxReceiveBuffer counts as at least 64 KiB, and MaxStreamBuffer as at least 16 KiB and at most 1 GiB. A
//     MaxStreamBuffer below 256 KiB is told to the peer right behind SYN; the original tells it at the first Read.
//   - A nil *Stream is never in the interface that Open and Accept return with an error.
//
// New programs use package session, which has contexts, half-close, statistics, and larger windows. A program can do so
// step by step: [Session.Unwrap] and Unwrap of a stream lead there.
package smux
