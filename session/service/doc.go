// Package service gives the streams of a session names. The side that opens a stream says which service it is for, and
// the other side hands it to the handler of that service:
//
//	// One side:
//	mux := new(service.Mux)
//	mux.Handle("echo", func(st *service.Stream) { io.Copy(st, st) })
//	go http.Serve(mux.Listen("web"), handler)
//	err := mux.Serve(ctx, s) // a *session.Session
//
//	// The other side:
//	st, err := service.Open(ctx, s, "echo", nil)
//
// Both sides of a session may open streams and serve them, also at the same time. Both must use this package, or
// something else that follows docs/service.md: a stream begins with a short header, and the data of the other direction
// begins with one byte that accepts the stream, or with a refusal. Neither costs a round trip. Streams that were opened
// without a header need a session of their own.
//
// # Refusals
//
// A service that is unknown, and a handler that calls [Stream.Refuse], refuse a stream with a code and a text. They reach
// the opener's Read and Write as a *[RefusedError]. A session may also refuse a stream, which is stream.ErrRefused: see
// session.Config.MaxStreams.
//
// # Limits
//
// A name has at most [MaxName] bytes. Metadata has at most [MaxEntries] entries, and [MaxMetadata] bytes of keys and
// values. A header that has not arrived within [Mux].HeaderTimeout, or is malformed, closes its stream and disturbs no
// other. While a header arrives, and as long as the handler has the stream, it takes memory for its own bytes, at most
// 17 KiB; session.Config.MaxStreams limits how many a peer may have. [Mux.Stats] counts what was refused and why.
package service
