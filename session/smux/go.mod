module github.com/smuxkit/smuxkit/session/smux

go 1.25.0

require github.com/smuxkit/smuxkit v0.1.0

require golang.org/x/time v0.15.0 // indirect
