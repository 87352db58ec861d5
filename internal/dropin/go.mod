module github.com/smuxkit/smuxkit/internal/dropin

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/smuxkit/smuxkit v0.1.0
	github.com/smuxkit/smuxkit/session/smux v0.0.0
	github.com/xtaci/smux v1.5.58
	golang.org/x/net v0.62.0
)

require (
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/time v0.15.0 // indirect
)

replace (
	github.com/smuxkit/smuxkit => ../..
	github.com/smuxkit/smuxkit/session/smux => ../../session/smux
)
