// Package smuxkit is the front page of the module github.com/smuxkit/smuxkit, which multiplexes streams over one
// connection using the smux protocol, versions 1 and 2. This package is documentation only. Import the packages below.
//
// # Which package for what
//
// Most programs need package session, and the types of package stream that it returns:
//
//   - [github.com/smuxkit/smuxkit/session] runs many streams over one connection. Begin here: Client, Server, Config.
//   - [github.com/smuxkit/smuxkit/stream] has the Stream, a net.Conn with half-close, and the errors of its calls.
//
// On top of these, for programs of certain kinds:
//
//   - [github.com/smuxkit/smuxkit/session/service] gives the streams of a session names: a handler or a net.Listener for
//     each service, both ways, and refusals that say why.
//   - [github.com/smuxkit/smuxkit/stream/relay] joins two connections, such as a stream and a socket. Proxies and tunnels
//     are made of it.
//   - [github.com/smuxkit/smuxkit/keepalive/heartbeat] measures round trips over any net.Conn, and says when an answer is
//     missing.
//   - [github.com/smuxkit/smuxkit/session/smux] has the API of xtaci/smux, for programs that use it. It is a module of its own.
//   - [github.com/smuxkit/smuxkit/session/prom] exports the Stats of sessions to Prometheus. It is a module of its own.
//
// Some fields of session.Config have types of other packages:
//
//   - [github.com/smuxkit/smuxkit/flow] has flow control: Budget limits the memory of several sessions together, Rate
//     limits the rate of a session or of a stream.
//   - [github.com/smuxkit/smuxkit/keepalive] has policies that decide when to probe a peer, and when to give it up.
//   - [github.com/smuxkit/smuxkit/shaper] has schedulers, which decide which stream sends next.
//
// Each of these packages can also be used without the others. So can the frame codec:
//
//   - [github.com/smuxkit/smuxkit/wire] encodes and decodes frames. Use it for proxies, tests and tools.
//
// The imports point downwards: session/prom imports session; session imports stream, flow, keepalive, shaper and wire;
// session/service and stream/relay import stream; stream imports flow and wire; and the rest import none of these
// packages. The programs in examples/ are there to be copied from. The files in docs/ describe the protocol and other
// implementations of it, how to come from another library, the architecture, flow control, and measurements.
package smuxkit
