package wire

import (
	"io"
	"slices"
)

const (
	// maxEmptyReads is how often in a row an io.Reader may return nothing, not
	// even an error, before that is io.ErrNoProgress. bufio allows as many.
	maxEmptyReads = 100
	// skipSize is the most that is read at once of a payload nobody wants.
	skipSize = 8 << 10
)

// Decoder reads the frames of one direction of a connection.
//
// [Decoder.Next] goes to the next frame and returns its header; after that the
// Decoder is an io.Reader of that frame's payload, and what is not read of it,
// the following Next skips.
//
// It takes from its reader what the frames need and not a byte more, so that
// between two frames the reader can be handed on. That makes at least one Read
// for each header: where Reads are dear, as those of files and sockets are,
// give it a bufio.Reader.
//
// A Decoder blocks as its reader does. An error of the reader is returned as it
// is and loses nothing: the same call made again goes on where the input
// stopped, for example after a deadline or when a file has grown. (Where it
// comes along with the last byte that Next or AppendPayload needs it is dropped,
// as io.ReadFull does: the reader will repeat it.) A reader that returns nothing
// a hundred times in a row is [io.ErrNoProgress]. A frame that breaks the
// protocol is final: from then on every call returns its [*HeaderError].
//
// A Decoder must not be used by several goroutines at once.
type Decoder struct {
	r       io.Reader
	offset  int64 // bytes taken from r
	version Version
	err     error // a *HeaderError, once there was one

	header [HeaderSize]byte // the header that Next collects
	have   int              // bytes of it that have arrived
	last   Header           // the header that Next returned last
	unread int              // bytes of payload still to come before the next header

	scratch []byte // where skipped payload goes; made at the first skip
}

// NewDecoder returns a Decoder that reads from r. It reads nothing yet.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{r: r} }

// Reset makes d as new, reading from r.
func (d *Decoder) Reset(r io.Reader) { *d = Decoder{r: r, scratch: d.scratch} }

// Version returns the version of the connection, and 0 before the first frame.
func (d *Decoder) Version() Version { return d.version }

// InputOffset returns how many bytes the Decoder has taken from its reader.
// Right after Next that is where the payload starts, [HeaderSize] after the
// start of the frame; after an error it is where the input stopped.
func (d *Decoder) InputOffset() int64 { return d.offset }

// Next skips what is unread of the current frame's payload and returns the
// header of the next frame. It does not allocate, but for one buffer at the
// first skip.
//
// The error is [io.EOF] where the input ends between frames,
// [io.ErrUnexpectedEOF] where it ends inside one, a [*HeaderError] for a frame
// that breaks the protocol (then the header is returned too), which includes
// [ErrVersionMismatch], and otherwise the reader's.
func (d *Decoder) Next() (Header, error) {
	if d.err != nil {
		return d.last, d.err
	}
	if d.unread > 0 {
		if err := d.skip(); err != nil {
			return Header{}, err
		}
	}
	for d.have < HeaderSize {
		n, err := d.read(d.header[d.have:])
		d.have += n
		if err != nil && d.have < HeaderSize {
			if err == io.EOF {
				err = errShort(d.have)
			}
			return Header{}, err
		}
	}
	d.have = 0
	d.last, d.err = ParseHeader(d.header[:])
	if d.version != 0 && d.last.Version != d.version && d.last.Version.known() {
		d.err = &HeaderError{Header: d.last, Err: ErrVersionMismatch}
	}
	if d.err != nil {
		return d.last, d.err
	}
	d.version = d.last.Version
	d.unread = int(d.last.Length)
	return d.last, nil
}

// Unread returns how many bytes of the current frame's payload are still to be
// read.
func (d *Decoder) Unread() int { return d.unread }

// Read reads payload of the current frame into p, at most to the end of the
// frame. There it returns [io.EOF], as it does before the first Next; see
// [Decoder.Next] for the other errors. Like any io.Reader it may return less
// than there is, and an error together with the last bytes before it.
func (d *Decoder) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.unread == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := d.read(p[:min(len(p), d.unread)])
	d.unread -= n
	if err == io.EOF {
		// The end of the input is not the end of this payload, unless they
		// coincide; then it is for the next call of Next to find.
		if err = nil; d.unread > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// AppendPayload appends what is unread of the current frame's payload to b and
// returns the extended slice. It allocates only if b has too little room, and
// at most once; [MaxPayload] is always enough. With an error, which is one that
// Read returns but never [io.EOF], the slice holds what arrived before it: give
// it that slice to go on.
func (d *Decoder) AppendPayload(b []byte) ([]byte, error) {
	if d.err != nil {
		return b, d.err
	}
	b = slices.Grow(b, d.unread)
	for d.unread > 0 {
		n, err := d.Read(b[len(b) : len(b)+d.unread])
		b = b[:len(b)+n]
		if err != nil && d.unread > 0 {
			return b, err
		}
	}
	return b, nil
}

// skip reads what is unread of the payload and throws it away.
func (d *Decoder) skip() error {
	if d.scratch == nil {
		d.scratch = make([]byte, skipSize)
	}
	for d.unread > 0 {
		if _, err := d.Read(d.scratch); err != nil && d.unread > 0 {
			return err
		}
	}
	return nil
}

// read reads at least one byte into p, which is not empty, or returns an error,
// or both. It trusts the reader with nothing.
func (d *Decoder) read(p []byte) (int, error) {
	for range maxEmptyReads {
		n, err := d.r.Read(p)
		if n < 0 || n > len(p) {
			return 0, errReadCount
		}
		if n > 0 || err != nil {
			d.offset += int64(n)
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}
