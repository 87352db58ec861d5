// Package interop holds no code, only tests: sessions of this module talk to
// sessions of github.com/xtaci/smux, the original, over loopback TCP.
//
// Every test runs the same conversation in both roles (our client with its
// server, its client with our server) and in both protocol versions. The tests
// see the two implementations through one small interface (peers_test.go), so
// that what differs between them stands in one place.
//
// The payloads are random and differ from run to run. A failing test logs its
// seed; -seed runs it again with the same sizes and bytes.
//
// With -tags self, the original takes our place as well. A test that then
// fails is wrong about the original, or says in its text that it expects more
// of us than of it:
//
//	go test -race ./...
//	go test -race -tags self ./...
//
// The module is nested so that the original stays out of smuxkit's go.mod.
package interop
