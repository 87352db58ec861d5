module github.com/smuxkit/smuxkit/internal/interop

go 1.26.0

require (
	github.com/smuxkit/smuxkit v0.0.0
	github.com/xtaci/smux v1.5.56
	go.uber.org/goleak v1.3.0
)

require golang.org/x/time v0.15.0 // indirect

replace github.com/smuxkit/smuxkit => ../..
