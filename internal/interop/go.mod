module github.com/smuxkit/smuxkit/internal/interop

go 1.26.0

require (
	github.com/smuxkit/smuxkit v0.0.0
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
	github.com/sagernet/sing v0.6.9 // indirect
	golang.org/x/sys v0.21.0 // indirect
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
