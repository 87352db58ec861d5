// Package smuxkit is the map of the module github.com/smuxkit/smuxkit. It has no code: import the packages below.
//
// The module runs many streams over one connection, by the smux protocol, versions 1 and 2. A stream is a net.Conn. The
// connection is TCP, TLS, a Unix socket or any other io.ReadWriteCloser, and the other end may be xtaci/smux.
//
//	s, err := session.Client(conn, nil) // the other end: session.Server(conn, nil)
//	…
//	st, err := s.OpenStream(ctx)        // the other end: s.AcceptStream(ctx), or s.Listener()
//
// # Streams over connections
//
// Most programs import package session alone, and use the types of package stream that it returns.
//
//   - [github.com/smuxkit/smuxkit/session] runs streams over one connection (Client, Server, Config), or over many: a
//     [github.com/smuxkit/smuxkit/session.Dialer] is a pool that dials again, and a
//     [github.com/smuxkit/smuxkit/session.Listener] is one net.Listener for the streams of many connections.
//   - [github.com/smuxkit/smuxkit/stream] has the Stream, a net.Conn with half-close, and the errors of its calls.
//
// # On top of streams
//
//   - [github.com/smuxkit/smuxkit/session/service] gives the streams of a session names: a handler or a net.Listener for
//     each service, both ways, and refusals that say why.
//   - [github.com/smuxkit/smuxkit/stream/relay] joins two connections, such as a stream and a socket. Proxies and tunnels
//     are made of it.
//   - [github.com/smuxkit/smuxkit/keepalive/heartbeat] measures round trips over any net.Conn, and says when an answer is
//     missing.
//
// # Parts of a session
//
// Fields of session.Config have types of the first three packages. All four can be used without a session as well.
//
//   - [github.com/smuxkit/smuxkit/flow] has flow control: a Budget limits the memory of several sessions together, a Rate
//     limits the rate of a session or of a stream. It also has windows.
//   - [github.com/smuxkit/smuxkit/keepalive] has policies that decide when to probe a peer, and when to give it up.
//   - [github.com/smuxkit/smuxkit/shaper] has schedulers, which decide which stream sends next.
//   - [github.com/smuxkit/smuxkit/wire] encodes and decodes frames, for proxies, tests and tools.
//
// # Modules of their own
//
// These are beside this module, so that what they import stays out of it. A program that imports this module gets
// golang.org/x/time and nothing else.
//
//   - [github.com/smuxkit/smuxkit/session/smux] has the API of xtaci/smux, for programs that use it.
//   - [github.com/smuxkit/smuxkit/session/prom] exports the Stats of sessions to Prometheus.
//   - [github.com/smuxkit/smuxkit/wire/smuxdump] is a program that shows frames, streams and stalls, of a capture or live.
//
// # Further
//
// README.md has a complete program, and says when not to use this module. The programs in examples/ are there to be
// copied from: HTTP, gRPC, proxies, tunnels. The files in docs/ are guides; they also describe the protocol, other
// implementations of it, the architecture, and measurements.
package smuxkit
