package interop

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// bubbles is matrix with virtual time, over a connection in memory: a test that waits for time-outs does not depend on how
// fast this machine is. Each link has a bubble of its own.
func bubbles(t *testing.T, settings []setting, test func(t *testing.T, l *link)) {
	t.Helper()
	checkGoroutines(t)
	for _, p := range somePeers(nil) {
		for _, version := range []int{1, 2} {
			for _, client := range []string{"our client", "their client"} {
				for _, s := range settings {
					t.Run(fmt.Sprintf("%s/v%d/%s/%s", p.name, version, client, s.name), func(t *testing.T) {
						emptyPools()
						defer emptyPools()
						synctest.Test(t, func(t *testing.T) {
							clientConn, serverConn := testutil.SimPair(t, simnet.Link{})
							test(t, newLinkOver(t, clientConn, serverConn, p, version, client == "our client", s))
						})
					})
				}
			}
		}
	}
}

// emptyPools empties each sync.Pool. The original has a pool of channels, and those of a bubble must not be used outside
// of it.
func emptyPools() {
	runtime.GC() // after one, a pool still has what was in it before
	runtime.GC()
}
