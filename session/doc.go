// Package session carries many streams over one connection, as the smux protocol has it.
//
// A [Session] is made over one transport by [Client] on the side that dialed and by [Server]
// on the side that accepted. The transport is anything reliable and ordered: a TCP or TLS
// connection, a Unix socket, a pipe, any io.ReadWriteCloser. Either side opens streams and
// accepts those of the other. A [stream.Stream] is a net.Conn with half-close, and
// [Session.Listener] returns a net.Listener, so what works over TCP works over a session: net/http and
// gRPC among others.
//
// A session runs one goroutine, which reads. What is written goes out from the call that
// writes it where that needs no waiting, and otherwise from a goroutine that lasts as long as
// there is something to send. Nothing is logged unless [Config] has a Logger.
//
// # Quick start
//
//	// The client, over a connection that it has dialed:
//	s, err := session.Client(conn, nil)
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	st, err := s.OpenStream(ctx)
//
//	// The server, over a connection that it has accepted:
//	s, err := session.Server(conn, nil)
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	for {
//		st, err := s.AcceptStream(ctx)
//		if err != nil {
//			return err // io.EOF once the client has gone
//		}
//		go serve(st)
//	}
//
//	// Or an http.Server, or a gRPC server:
//	go server.Serve(s.Listener())
//	…
//	server.Shutdown(ctx) // stops accepting, and waits for the answers in flight
//	s.Shutdown(ctx)      // waits until all streams are closed, and closes the session
//
// The examples below are whole programs.
//
// # Defaults
//
// A nil Config, and a zero field in one, mean the default:
//
//	Version           2 for a client; for a server, that of the first frame it receives
//	KeepAlive         keepalive.Periodic{}: probes after 10 s, gives up after 30 s
//	MaxFrameSize      32,760 bytes of payload
//	MaxReceiveBuffer  32 MiB of unread data, all streams together
//	MaxStreamWindow   16 MiB, for version 2; a stream begins with 256 KiB
//	AcceptBacklog     no limit on the streams that wait for AcceptStream, but MaxStreams
//	MaxStreams        65,536 streams that the peer may have open
//	MaxSendBuffer     16 MiB for what was written and not sent, all streams together
//	CloseTimeout      5 s for Close to send what was written
//	LingerTimeout     60 s for a closed stream whose data does not leave
//	WriteTimeout      none: a transport may take no data for as long as it likes
//
// Version 2 has flow control for each stream; version 1 has none, so that a stream nobody reads
// stops all of them once MaxReceiveBuffer is full, unless Config.StallTimeout is set. Use
// version 1 only toward a peer that speaks no other.
//
// # Errors
//
// Errors are those of package net. A call fails with a *net.OpError, whose Net is "smux",
// around the cause; match the cause with errors.Is and errors.As:
//
//	io.EOF                   from Read: the peer's FIN, and nothing else (returned bare);
//	                         from AcceptStream: the peer closed the transport between frames
//	io.ErrUnexpectedEOF      the transport ended and the stream had no FIN
//	net.ErrClosed            this side closed the stream or the session
//	os.ErrDeadlineExceeded   a deadline has passed; also a net.Error with Timeout() true
//	stream.ErrPeerClosed     from Write: the peer has closed both directions
//	stream.ErrStalled        Config.StallTimeout has aborted the stream
//	ErrKeepAlive             the peer was silent for too long; a time-out, too
//	ErrAnswerTimeout         the peer opens streams and takes no refusals; a time-out, too
//	*ProtocolError           the peer sent what the protocol does not allow; it says what
//	ErrShutdown              from OpenStream: this side has called Shutdown
//	ErrIDsExhausted          from OpenStream: all stream ids of this side were used
//	ErrNotFlushed            from Close: not all that was written could be sent
//
// A context's error is passed on as it is, in a *net.OpError. [Session.Err] says why a session has
// ended, [Session.Done] when.
//
// # Sockets on Linux
//
// On Linux (but on 386), a session reads and writes a *net.TCPConn or *net.UnixConn by system calls of its
// own, without the conn's Read and Write. They never wait for the network, copy large data straight between
// the socket and the buffers of the application's calls, and hold no buffer while nothing arrives. The Go
// scheduler is not told of them, which docs/performance.md measures. [Config].Portable turns them off.
//
// A page fault in such a call keeps a Go processor until the page is there, as a page fault in Go code
// does. A garbage collection that starts meanwhile waits for it, and all goroutines with it. So
// do not pass to Write or Read memory that takes long to fault in, such as a mapped file on a slow disk. Read the file
// instead, with io.Copy(st, file) for example: the scheduler knows of a read from a file. Portable is
// no remedy: then Go code copies the data, with the same page fault.
//
// # Compatibility
//
// The protocol is that of github.com/xtaci/smux, versions 1 and 2; the module's internal/interop
// runs both implementations against each other in all roles. There is no negotiation: the two
// ends have to be set to the same version, except that a Server with Version 0 takes that of its
// client. A Client speaks version 2 unless [Config].Version is 1, which it has to be toward a server of
// xtaci/smux with its default configuration. If this side has opened streams and no frame ever came, the
// error with which the session ends asks for the version.
//
// The defaults keep within what the Rust crates smux 0.2 and async_smux 0.3 accept, as their
// sources have it (no test here runs them): frames of at most 32,768 bytes with their header, ids
// of the right parity, no data in control frames. Use version 1 with them. docs/protocol.md has the rest,
// and says what to set toward which peer.
package session
