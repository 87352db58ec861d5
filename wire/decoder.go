package wire

import (
	"io"
	"slices"
)

const (
	// maxEmptyReads is how often in a row an io.Reader may return 0 bytes and no
	// error before the Decoder returns io.ErrNoProgress. It is the same in bufio.
	maxEmptyReads = 100
	// skipSize is the most bytes that one Read of a skipped payload takes.
	skipSize = 8 << 10
)

// A Decoder reads the frames of one direction of a connection.
//
// [Decoder.Next] goes to the next frame and returns its header. After that the Decoder is
// an [io.Reader] of the frame's payload. Next skips any unread remainder.
//
// A Decoder takes no byte from its reader beyond the current frame, so between two frames
// the reader can be used for something else. It calls Read at least once for each header:
// if Reads are expensive, as with files and sockets, use a [bufio.Reader].
//
// A Decoder blocks while its reader blocks. It returns the reader's errors unchanged, and
// loses no byte: the same call made again continues where the input stopped, for example
// after a deadline or when a file has grown. If an error comes with the last byte that
// Next or AppendPayload needs, it is dropped, as by [io.ReadFull]; the reader will return
// it again. If the reader returns 0 bytes and no error a hundred times in a row, the error
// is [io.ErrNoProgress]. A frame that breaks the protocol is final: from then on every
// call returns its [*HeaderError].
//
// A Decoder is not safe for concurrent use.
type Decoder struct {
	r       io.Reader
	offset  int64 // bytes taken from r
	version Version
	err     error // the *HeaderError that ended the input, or nil

	header [HeaderSize]byte // the header that Next is reading
	have   int              // bytes of header that were read
	last   Header           // the header that Next returned last
	unread int              // unread bytes of the current frame's payload

	scratch []byte // for skipped payload; allocated by the first skip
}

// NewDecoder returns a Decoder that reads from r. It reads nothing yet.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{r: r} }

// Reset makes d equal to a new Decoder that reads from r. It keeps d's buffer.
func (d *Decoder) Reset(r io.Reader) { *d = Decoder{r: r, scratch: d.scratch} }

// Version returns the version of the connection. It is 0 before the first frame.
func (d *Decoder) Version() Version { return d.version }

// InputOffset returns how many bytes the Decoder has taken from its reader. After Next
// that is the start of the payload, [HeaderSize] bytes after the start of the frame. After
// an error it is where the input stopped.
func (d *Decoder) InputOffset() int64 { return d.offset }

// Next skips the unread payload of the current frame and returns the header of the next
// frame. It allocates nothing except one buffer at the first skip.
//
// The error is [io.EOF] if the input ends between frames, and [io.ErrUnexpectedEOF] if it
// ends inside a frame. For a frame that breaks the protocol it is a [*HeaderError], which
// may wrap [ErrVersionMismatch]; the header is returned as well. Any other error is the
// reader's.
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

// Unread returns the number of unread bytes of the current frame's payload.
func (d *Decoder) Unread() int { return d.unread }

// Read reads payload of the current frame into p. At the end of the frame, and before the
// first Next, it returns [io.EOF]. See [Decoder.Next] for other errors. Like any
// [io.Reader], Read may return fewer bytes than len(p), and may return bytes together with
// an error.
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
		// The end of the input inside a payload is an error. At the end of the
		// payload the next call of Next finds it.
		if err = nil; d.unread > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// AppendPayload appends the unread payload of the current frame to b and returns the
// extended slice. It allocates at most once, and only if b has too little room; room for
// [MaxPayload] bytes is always enough. The errors are those of Read except [io.EOF]. With
// an error the slice holds the bytes that were read before it; pass that slice to the next
// call to continue.
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

// skip reads the rest of the payload and discards it.
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

// read reads at least one byte into p, which must not be empty, or returns an error, or
// both. It does not trust the counts that the reader returns.
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
