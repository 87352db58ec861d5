// The command dropin proves that session/smux can replace github.com/xtaci/smux. Its tests run the original's own tests against
// session/smux, compare the two packages call by call, and build programs that import the original with a replace line in
// their go.mod.
//
//	go test .                 # what CI runs
//	go test -full .           # also what takes minutes: the original's transfers at their full size, its scheduler's tests
//	go run .                  # the original's benchmarks, for both packages side by side
package main
