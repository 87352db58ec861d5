module github.com/smuxkit/smuxkit/internal/bench

go 1.26.0

require (
	github.com/hashicorp/yamux v0.1.2
	github.com/libp2p/go-yamux/v5 v5.1.0
	github.com/xtaci/smux v1.5.56
	golang.ngrok.com/muxado/v2 v2.0.2
)

require (
	github.com/libp2p/go-buffer-pool v0.0.2 // indirect
	golang.org/x/time v0.15.0 // indirect
)

require (
	github.com/smuxkit/smuxkit v0.0.0
	golang.org/x/sys v0.49.0
)

replace github.com/smuxkit/smuxkit => ../..
