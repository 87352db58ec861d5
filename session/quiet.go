package session

// quietReads counts Reads of a transport that brought little. The Read of a transport that is no socket needs a buffer for
// as long as it waits. After some Reads that brought little, that is buf in place of the staging buffer of 64 KiB. So a
// quiet session holds no staging buffer, and one that carries bulk data does not read in small pieces. buf is enough for
// the keep-alive's frames, and for small messages.
type quietReads struct {
	n   uint8 // how many of the last Reads, up to minQuietReads, have brought less than buf holds
	buf [quietSize]byte
}

const (
	quietSize = 512
	// minQuietReads is more than one, so that messages of more than quietSize bytes take one Read each and not two: what
	// is left of the first one is little, but not the next one.
	minQuietReads = 2
)

// newQuietReads returns the state of a new session, which is quiet.
func newQuietReads() quietReads { return quietReads{n: minQuietReads} }

// are reports whether the next Read will bring little, by all that is known.
func (q *quietReads) are() bool { return q.n >= minQuietReads }

// note notes that a Read has brought n bytes.
func (q *quietReads) note(n int) {
	if n >= quietSize {
		q.n = 0
	} else if q.n < minQuietReads {
		q.n++
	}
}
