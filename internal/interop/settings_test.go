//go:build unix && !self

package interop

import (
	"fmt"
	"strings"
	"testing"
)

// What to set toward each peer, and what cannot work, follows from the table of results.

// setVersion is what our client sets.
func (p *peer) setVersion() string {
	if p.crate != "" {
		return "1"
	}
	return "that of the server, which is 1 by default"
}

func (p *peer) setNoHalfClose() string {
	if p.halfCloses() {
		return "true, unless an application half-closes"
	}
	return "true"
}

func (p *peer) setKeepAlive() string {
	switch {
	case p.crate != "":
		return "the peer sends no NOP by default: see [below](#keep-alive)"
	case strings.HasPrefix(p.name, "sagernet"):
		return "leave it; sing-mux and sing-box send no NOP: see [below](#keep-alive)"
	}
	return "leave it; with KeepAliveDisabled, see [below](#keep-alive)"
}

// cannot is what works with no setting.
func (p *peer) cannot() string {
	var some []string
	if p.crate != "" {
		some = append(some, "version 2")
	}
	switch {
	case p.afterFIN == writesFirstWindow:
		some = append(some, "half-close by the peer; by us in version 2, if the answer has more than 262,144 bytes")
	case !p.halfCloses():
		some = append(some, "half-close")
	case !p.keepsUnread:
		some = append(some, "closing before the peer, which has half-closed, has read its answer")
	}
	if p.registersLate {
		some = append(some, "writing first on a stream of the peer")
	}
	if p.finalizes {
		some = append(some, "writing to an application of the peer that reads by io.Copy alone, if the garbage collector runs")
	}
	if len(some) == 0 {
		return "–"
	}
	return strings.Join(some, "; ")
}

// settingsTable is a table of docs/protocol.md.
func settingsTable() string {
	var b strings.Builder
	b.WriteString("| peer | `Config.Version` of our client | `Config.NoHalfClose` | `Config.KeepAlive` | what cannot work |\n|---|---|---|---|---|\n")
	b.WriteString("| smuxkit | leave it | leave it | leave it; if all peers are smuxkits, `keepalive.Periodic{Strict: true}` | – |\n")
	for _, p := range tablePeers() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", p.title(), p.setVersion(), p.setNoHalfClose(), p.setKeepAlive(), p.cannot())
	}
	return b.String()
}

// docs/protocol.md says what to set toward each peer. With -update, the test writes it.
func TestSettingsAreInTheDocs(t *testing.T) { wantInDocs(t, "settings", settingsTable()) }
