// Package session multiplexes streams over one connection, using the smux protocol.
//
// A [Session] runs over one transport. [Client] starts it on the side that dialed, [Server] on the side that accepted.
// The transport may be anything reliable and ordered: a TCP or TLS connection, a Unix socket, a pipe, any
// io.ReadWriteCloser. Both sides may open streams, and accept those that the other side opens. A [stream.Stream] is
// a net.Conn with half-close, and [Session.Listener] returns a net.Listener. So what works over TCP works over a
// session, net/http and gRPC among others.
//
// A session runs one goroutine, which reads. A call of Write sends its data by itself if it need not wait.
// Otherwise a second goroutine sends, until there is nothing more to send. The session logs nothing unless
// [Config] has a Trace, see [LogTrace].
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
//			return err // io.EOF if the client has closed the connection
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
// The examples below are complete programs.
//
// # Ending a program
//
// Close of a stream does not wait until its data is sent. A program that exits right after it loses what was written
// last. Call one of these before:
//
//	st.Flush(ctx)   // waits until what was written to the stream has reached the peer; also after st.Close
//	s.Close()       // does the same for all streams, and ends the session
//	s.Shutdown(ctx) // waits until all streams are closed, and does what Close does
//
// [stream.Stream.Flush] and [Session.Close] say how they know that the data has arrived, which depends on the transport
// and the peer. What the peer's application has done with the data, only its answer can tell.
//
// # Many sessions
//
// A [Dialer] keeps a pool of sessions with one peer, and dials again when one has ended. A [Listener] accepts many
// transports, and is one net.Listener for the streams of all. docs/pools.md is their guide.
//
// # Configuration
//
// A nil [Config], and the zero value of each of its fields, mean the default. The fields' comments state the defaults.
//
// Version 2 of the protocol has flow control for each stream. Version 1 has none: a stream that nobody reads stops all
// streams once Config.MaxReceiveBuffer is full, unless Config.StallTimeout is set. Use version 1 only toward a
// peer that speaks no other.
//
// # Errors
//
// Calls fail as those of package net do: with a *net.OpError, whose Net is "smux", around the cause. The errors of streams
// name the stream's id behind the remote address, as in "read smux 192.0.2.1:40000->192.0.2.2:443 stream 5: i/o timeout".
// Match the cause with errors.Is and errors.As:
//
//	io.EOF                   from Read: the peer's FIN, and nothing else (not in a *net.OpError);
//	                         from AcceptStream: the peer closed the transport between two frames
//	io.ErrUnexpectedEOF      the transport ended before the stream's FIN
//	net.ErrClosed            this side closed the stream or the session
//	os.ErrDeadlineExceeded   a deadline has passed; also a net.Error with Timeout() true
//	stream.ErrPeerClosed     from Write: the peer has closed both directions, or is taken for one that has
//	                         (Config.NoHalfClose, Config.LingerTimeout)
//	errors.ErrUnsupported    from Stream.CloseWrite: Config.NoHalfClose is set
//	stream.ErrRefused        from Read and Write: the peer has refused the stream; no application has seen it
//	stream.ErrLingerTimeout  from Stream.Flush: data was thrown away after Close, because it could not be sent
//	stream.ErrStalled        Config.StallTimeout has aborted the stream
//	flow.ErrWindow           the peer sent too far beyond the stream's window
//	stream.ErrIdleTimeout    Config.StreamIdleTimeout or Stream.SetIdleTimeout has closed the stream
//	ErrKeepAlive             the peer was silent for too long
//	ErrIdleTimeout           no stream was open for Config.IdleTimeout
//	ErrWriteTimeout          the transport took no data for Config.WriteTimeout
//	ErrLingerTimeout         the transport took no data for Config.LingerTimeout, and data was thrown away
//	ErrAnswerTimeout         the peer opens streams and does not read the refusals
//	*ProtocolError           the peer broke the protocol; the error says how
//	ErrShutdown              from OpenStream: this side has called Shutdown
//	ErrPeerShutdown          from OpenStream: the peer takes no more streams
//	ErrPingUnanswered        from Ping: its context ended before the peer's answer came
//	ErrIDsExhausted          from OpenStream: this side has used up its stream ids
//	ErrNoSession             from a Dialer: Dialer.WaitTimeout has passed, and no dial has succeeded
//	ErrNotFlushed            from Close: some of the written data was not sent; from Close and Shutdown: CloseNow
//	                         has ended them
//
// A context's error is in a *net.OpError as well. [Session.Done] tells when the session has ended, [Session.Err] why.
//
// # Sight
//
// [Session.Stats] and [stream.Stream.Stats] have counters, [Session.Streams] lists the open streams. Package expvar shows
// them in a line: see the example of Session.Stats. [Config].Trace has functions that are called when something happens,
// and [LogTrace] returns one that logs. Sessions and streams have String and LogValue, so they can be printed and logged
// at any time.
//
// # Sockets on Linux
//
// On Linux (except on 386), a session uses a *net.TCPConn or *net.UnixConn by system calls of its own, in place of
// the conn's Read and Write. These calls never wait for the network, copy large data directly between the socket
// and the buffers of the application's calls, and need no buffer while nothing arrives. The Go scheduler does not
// know of them; docs/decisions.md has measurements. [Config].Portable turns them off.
//
// A page fault in such a call keeps a Go processor until the page is there, as a page fault in Go code does. A garbage
// collection that starts meanwhile waits for it, and so do all goroutines. So do not pass memory to Write or Read
// that takes long to fault in, such as a mapped file on a slow disk. Read the file instead, for example with
// io.Copy(st, file): the scheduler knows of a read from a file. Portable does not help, because then Go code
// copies the data, with the same page fault.
//
// # Compatibility
//
// The protocol is that of github.com/xtaci/smux, versions 1 and 2. The module's internal/interop runs both
// implementations against each other in all roles. The two ends must be set to the same version, because the
// protocol does not negotiate it; only a Server with Version 0 takes the version of its client. A Client uses
// version 2 unless [Config].Version is 1. Set 1 toward a server of xtaci/smux with its default configuration. If
// this side has opened streams and no frame ever arrived, the error that ends the session asks for the version.
//
// The defaults keep within what the Rust crates smux 0.2 and async_smux 0.3 accept: frames of at most 32,768 bytes with
// their header, ids of the right parity, no data in control frames. internal/interop runs them, too. Use version 1 with
// them. docs/protocol.md has the details, and says what to set toward which peer.
package session
