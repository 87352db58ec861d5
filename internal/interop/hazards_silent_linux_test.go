//go:build !386 && !portable && !self

package interop

import (
	"testing"
	"time"
)

// A server of theirs of another version that sends no NOP keeps our client waiting over TCP, for several times our
// Timeout: its host acknowledges our probes. TestOurClientSaysThatTheServerHasAnotherVersion has the strict policy.
func TestSilentServerOfAnotherVersionKeepsUsWaiting(t *testing.T) {
	checkGoroutines(t)
	for _, p := range peers {
		for version := 1; version <= 2; version++ {
			t.Run(p.name+"/v"+string(rune('0'+version)), func(t *testing.T) {
				t.Parallel()
				record(t, p, version, true)
				client, server := tcpPair(t, false)
				theirs, err := p.start(server, false, 3-version, func(c *theirSettings) { c.KeepAliveDisabled = true })
				if err != nil {
					t.Fatal(err)
				}
				defer theirs.Close()
				ours, err := newOurs(client, true, ourConfig{Version: version, Interval: interval, Timeout: timeout})
				if err != nil {
					t.Fatal(err)
				}
				defer ours.Close()
				st, err := ours.Open()
				if err != nil {
					t.Fatal(err)
				}
				mustWrite(t, "ours", st, []byte("nobody reads this"))
				if err := st.SetReadDeadline(time.Now().Add(idle)); err != nil {
					t.Fatal(err)
				}
				if _, err := st.Read(make([]byte, 1)); !timedOut(err) {
					t.Errorf("Read: %v", err)
				}
				if err := ours.(ourSession).Err(); err != nil {
					t.Errorf("the session ended: %v", err)
				}
				show(t, silentServer, p, version, true)
			})
		}
	}
}
