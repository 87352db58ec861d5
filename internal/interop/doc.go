// Package interop has tests only: sessions of this module talk to sessions of github.com/xtaci/smux, the original,
// and of its fork github.com/sagernet/smux, over loopback TCP.
//
// Each test runs the same conversation with several versions of the original, in both roles (our client with its server,
// its client with our server), and in both protocol versions. The tests use all implementations through one small
// interface (peers_test.go), which hides their differences. Where versions of the original behave differently, a table
// (versions_test.go) says what is expected of each.
//
// The Rust crates smux and async_smux are driven by a program in the folder rust, which the tests build where cargo is
// installed (rust_test.go). Where it is not, their tests are skipped.
//
// Whole transfers and Session.Close also run over TLS, WebSocket and KCP (transports_test.go, kcp_test.go), toward
// sessions of both implementations.
//
// What the tests find with each peer is recorded, and compared with a table of cases (columns_test.go), which
// docs/protocol.md includes: results_test.go. With -results FILE, a run writes its own table.
//
// Payloads are random and differ from run to run. A failing test logs its seed; -seed runs it again with the same
// sizes and bytes.
//
// With -tags self, the newest version of the original takes our place as well. A test that then fails is wrong about the original, unless
// it says that it expects more of us:
//
//	go test -race ./...
//	go test -race -tags self ./...
//
// The module is nested so that the original stays out of smuxkit's go.mod.
package interop
