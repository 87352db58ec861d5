package conversation

import (
	"bytes"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

const (
	// needed is how many headers in a row, each where the one before says, show where a frame begins. Random bytes are
	// a header with a probability of 1 to 30,000, so three of them, of the same version, are no chance.
	needed = 3
	// maxPending is the most bytes that a search keeps: needed frames of the greatest length, and the rest of a frame
	// before them.
	maxPending = 4 * (wire.MaxPayload + wire.HeaderSize)
	// eagerScan is how many pending bytes are scanned each time that some are added.
	eagerScan = 64 << 10
	// maxSearch is how many bytes are searched before a direction is taken for something else than smux.
	maxSearch = 1 << 20
)

// search adds p to the bytes that are searched, and decodes them once a frame was found.
func (d *direction) search(t time.Time, p []byte) {
	for len(p) > 0 && d.state == searching {
		n := min(len(p), maxPending-len(d.pending), d.conn.set.maxHeld-d.conn.set.held)
		if n == 0 {
			d.Undecoded += int64(len(p))
			d.notFound(t)
			return
		}
		d.setPending(append(d.pending, p[:n]...))
		p = p[n:]
		full := len(d.pending) == maxPending
		if !full && len(d.pending) < d.nextScan {
			return
		}
		// A scan takes time in proportion to what is pending. So if that is much, the next one waits until it has grown
		// in proportion.
		if d.nextScan = 0; len(d.pending) > eagerScan {
			d.nextScan = len(d.pending) + len(d.pending)/8
		}
		at, ok := find(d.pending, d.conn.Version, needed)
		switch {
		case ok:
			d.found(t, at)
		case full:
			// Nothing begins in the first half, or its frames would have been found.
			d.passBy(maxPending / 2)
			if d.Undecoded > maxSearch {
				d.notFound(t)
			}
		}
	}
	if len(p) > 0 {
		d.feed(t, p)
	}
}

// setPending replaces the bytes that are searched.
func (d *direction) setPending(p []byte) {
	d.conn.set.held += len(p) - len(d.pending)
	d.pending = p
	if len(p) == 0 {
		d.pending, d.nextScan = nil, 0
	}
}

// passBy drops the first n pending bytes.
func (d *direction) passBy(n int) {
	d.Undecoded += int64(n)
	d.dropped += int64(n)
	d.setPending(append([]byte(nil), d.pending[n:]...))
}

// found decodes from the pending byte at on.
func (d *direction) found(t time.Time, at int) {
	d.passBy(at)
	d.conn.tell(Note, d.dir, t, "%s: frames from byte %d on, %d bytes before it are not decoded", d.why, d.dropped, d.Undecoded)
	p := d.pending
	d.setPending(nil)
	d.state = synced
	d.reset(d.dropped)
	d.feed(t, p)
}

// notFound ends the search.
func (d *direction) notFound(t time.Time) {
	d.Undecoded += int64(len(d.pending))
	d.state = failed
	if d.conn.Version == 0 {
		d.conn.set.NotSmux++
		d.conn.tell(Note, d.dir, t, "%s: no frame in %d bytes: not smux, or encrypted%s", d.why, d.Undecoded, guess(d.pending))
	} else {
		d.conn.tell(Problem, d.dir, t, "%s: no frame was found in %d bytes", d.why, d.Undecoded)
	}
	d.setPending(nil)
}

// searchAtEnd decides with fewer frames, because no more bytes come.
func (d *direction) searchAtEnd(t time.Time) {
	if len(d.pending) == 0 {
		return
	}
	for n := needed - 1; n > 0; n-- {
		at, ok := find(d.pending, d.conn.Version, n)
		// A single frame must begin where the bytes do, and end where they end.
		if ok && (n > 1 || at == 0 && chain(d.pending, d.conn.Version).ends) {
			d.found(t, at)
			return
		}
	}
	d.notFound(t)
}

// find returns the first place in p from which on n frames follow each other, and whether there is one. Segments mostly
// begin with a frame: if p may do so, and is too short to tell, find waits.
func find(p []byte, v wire.Version, n int) (at int, ok bool) {
	if first := chain(p, v); first.headers > 0 && first.headers < n && !first.wrong && n == needed {
		return 0, false
	}
	for at := range p {
		if p[at] != byte(wire.V1) && p[at] != byte(wire.V2) {
			continue
		}
		if c := chain(p[at:], v); c.headers >= n && !c.wrong {
			return at, true
		}
	}
	return 0, false
}

// A frames is what chain finds.
type frames struct {
	headers int  // valid headers, each where the one before says
	wrong   bool // within the first needed ones, behind the last of them is no header
	ends    bool // the bytes end where a frame does
}

// chain follows the frames that begin with p's first byte, up to needed of them. v is the version, or 0.
func chain(p []byte, v wire.Version) frames {
	var f frames
	for f.headers < needed && len(p) >= wire.HeaderSize {
		h, err := wire.ParseHeader(p)
		if err != nil || v != 0 && h.Version != v {
			f.wrong = true
			return f
		}
		v = h.Version
		f.headers++
		size := wire.HeaderSize + int(h.Length)
		f.ends = len(p) == size
		p = p[min(len(p), size):]
	}
	return f
}

// guess says what other protocol the bytes may be, or nothing.
func guess(p []byte) string {
	switch {
	case len(p) > 2 && p[0] == 0x16 && p[1] == 3:
		return " (TLS: capture above it, or use -listen behind it)"
	case len(p) > 2 && p[0] == 0x17 && p[1] == 3:
		return " (TLS records)"
	case bytes.HasPrefix(p, []byte("SSH-")):
		return " (SSH)"
	case bytes.HasPrefix(p, []byte("PRI * HTTP")):
		return " (HTTP/2)"
	case bytes.HasPrefix(p, []byte("HTTP/")), bytes.HasPrefix(p, []byte("GET ")), bytes.HasPrefix(p, []byte("POST ")), bytes.HasPrefix(p, []byte("CONNECT ")):
		return " (HTTP)"
	case len(p) >= 8 && p[0] == 0 && p[1] <= 3 && p[2] == 0 && p[3] <= 15:
		return " (perhaps yamux)"
	}
	return ""
}
