package session

import (
	"io"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// In this file, the holder of the writer role writes a batch.

// An outgoing is a batch, and what is left of the one before. It belongs to the holder of the writer role.
type outgoing struct {
	batch *wire.Batch
	rest  []byte // what a full transport has not taken of the last batch
	// throttle limits the rate of batch; nil: no limit. If the rate changes meanwhile, the next batch has the new one.
	throttle *throttle
	// streams are those with data, SYN or FIN in batch. Some may be in it more than once.
	streams []*sessionStream
	// given are the streams with data or FIN in batch or in rest, with Config.WriteThrough. See noteTaken.
	given []*sessionStream
}

var (
	vectoredPool = sync.Pool{New: func() any { return &outgoing{batch: wire.NewBatch(true)} }}
	copyingPool  = sync.Pool{New: func() any { return &outgoing{batch: wire.NewBatch(false)} }}
)

// pool returns the pool of batches for the transport: only a socket writes the parts of a batch from where they are.
func (w *writer) pool() *sync.Pool {
	if w.inline {
		return &vectoredPool
	}
	return &copyingPool
}

func (w *writer) newOutgoing() *outgoing {
	o := w.pool().Get().(*outgoing)
	o.batch.SetLimit(int(w.maxWrite))
	return o
}

func (w *writer) freeOutgoing(o *outgoing) {
	o.batch.Release()
	o.rest = o.rest[:0]
	o.throttle = nil
	o.dropStreams()
	o.dropGiven()
	w.pool().Put(o)
}

// noteActive tells the streams of the batch that the transport has taken it.
func (o *outgoing) noteActive(now time.Duration) {
	for _, st := range o.streams {
		st.core.NoteActive(now)
	}
	o.dropStreams()
}

func (o *outgoing) dropStreams() {
	clear(o.streams)
	o.streams = o.streams[:0]
}

// noteTaken tells the streams, with Config.WriteThrough, that the transport has taken the batch and the rest.
func (o *outgoing) noteTaken() {
	if len(o.given) == 0 || len(o.rest) > 0 {
		return
	}
	for _, st := range o.given {
		st.core.HandleTaken()
	}
	o.dropGiven()
}

func (o *outgoing) dropGiven() {
	clear(o.given)
	o.given = o.given[:0]
}

// write writes the batch. What a full socket does not take becomes o.rest.
func (w *writer) write(o *outgoing) error {
	b := o.batch
	switch {
	case o.throttle == nil:
	case w.maxWrite == 0:
		return w.writeThrottled(o)
	default: // a part of the batch would not end with a frame
		o.throttle = w.throttle.wait()
		o.throttle.consume(b.Len())
	}
	if !w.inline {
		w.watch.begin()
		defer w.watch.end()
	}
	n, err := w.s.transport.write(b)
	if err == nil && !w.inline {
		err = w.watch.noteProgress()
	}
	if err == nil && n < b.Len() {
		o.rest = b.AppendRest(o.rest[:0], n)
	}
	b.Release()
	if n > 0 {
		w.s.addSent(n)
	}
	return err
}

// writeThrottled writes the batch in pieces, no faster than the rate allows.
func (w *writer) writeThrottled(o *outgoing) error {
	o.rest = o.batch.AppendRest(o.rest[:0], 0)
	o.batch.Release()
	for p := o.rest; len(p) > 0; {
		n := len(p)
		t := w.throttle.wait()
		if t != nil {
			n = min(n, t.piece)
		}
		if err := w.writeAll(p[:n]); err != nil {
			return err
		}
		t.consume(n)
		p = p[n:]
	}
	o.rest = o.rest[:0]
	return nil
}

// writeRest writes what is left of a batch.
func (w *writer) writeRest(o *outgoing) error {
	if len(o.rest) == 0 {
		return nil
	}
	err := w.writeAll(o.rest)
	o.rest = o.rest[:0]
	return err
}

// writeAll writes p. It waits for the transport.
func (w *writer) writeAll(p []byte) error {
	w.watch.begin()
	defer w.watch.end()
	for len(p) > 0 {
		n, err := w.s.transport.writeSome(p)
		if n > 0 {
			w.s.addSent(n)
		}
		if err != nil {
			return err
		}
		if err := w.watch.noteProgress(); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// fail ends all sending after a failed write, and gives up the role.
func (w *writer) fail(o *outgoing, err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // a stream reports io.EOF after a FIN alone
	}
	w.stop(err)
	w.drop(o)
	w.s.writeFailed(err)
}

// drop throws o away and gives up the role.
func (w *writer) drop(o *outgoing) {
	w.mu.Lock()
	w.lost = true
	w.free()
	w.mu.Unlock()
	w.freeOutgoing(o)
}
