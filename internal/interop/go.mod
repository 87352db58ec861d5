module github.com/smuxkit/smuxkit/internal/interop

go 1.26.2

require (
	github.com/coder/websocket v1.8.15
	github.com/quic-go/quic-go v0.65.0
	github.com/smuxkit/smuxkit v0.0.0
	github.com/xtaci/kcp-go/v5 v5.7.5
	github.com/xtaci/smux v1.5.58
	go.uber.org/goleak v1.3.0
	peer.test/sagernet1534 v0.0.0
	peer.test/xtaci1524 v0.0.0
	peer.test/xtaci1527 v0.0.0
	peer.test/xtaci1534 v0.0.0
	peer.test/xtaci1553 v0.0.0
	peer.test/xtaci1556 v0.0.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/juju/ratelimit v1.0.2 // indirect
	github.com/klauspost/cpuid/v2 v2.4.1 // indirect
	github.com/klauspost/reedsolomon v1.14.2 // indirect
	github.com/kr/text v0.2.0 // indirect
	github.com/pion/transport/v5 v5.1.4 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/sagernet/sing v0.6.9 // indirect
	github.com/tjfoc/gmsm v1.4.1 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.15.0 // indirect
)

replace github.com/smuxkit/smuxkit => ../..

// Other versions of the original, and its fork, so that one module has them all.
replace (
	peer.test/sagernet1534 => github.com/sagernet/smux v1.5.34-mod.2
	peer.test/xtaci1524 => github.com/xtaci/smux v1.5.24
	peer.test/xtaci1527 => github.com/xtaci/smux v1.5.27
	peer.test/xtaci1534 => github.com/xtaci/smux v1.5.34
	peer.test/xtaci1553 => github.com/xtaci/smux v1.5.53
	peer.test/xtaci1556 => github.com/xtaci/smux v1.5.56
)
