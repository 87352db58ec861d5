package service

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

var (
	// ErrAnswer is returned by Read and Write if the peer has answered with what is no answer of this package. The
	// peer's side of the session does not serve streams with a [Mux].
	ErrAnswer = errors.New("service: malformed answer: does the peer use this package?")
	// ErrAnswered is returned by Refuse if the stream was accepted or refused already.
	ErrAnswered = errors.New("service: the stream was answered already")
)

// A Stream is a stream for a service: a net.Conn with half-close, io.WriterTo and io.ReaderFrom. It is a [stream.Stream]
// whose data is preceded by the header and the answer. Its methods do what those of stream.Stream do, unless their
// comments say otherwise, and may be called concurrently. Do not call those of the embedded Stream by its name: they know
// nothing of header and answer.
//
// On the side that has opened the stream, Read and WriteTo wait for the answer first. They and Write and ReadFrom return a
// *[RefusedError] after a refusal, which closes the stream, or [ErrAnswer].
//
// On the other side, the first Write or ReadFrom accepts the stream, or [Stream.Accept] does. Until then,
// [Stream.Refuse] can refuse it. CloseWrite and Close without any data do neither: the opener reads io.EOF.
type Stream struct {
	*stream.Stream
	name     string
	metadata map[string]string

	state atomic.Uint32 // an answerState

	// On the side that opened the stream:
	turn   chan struct{} // holds a token while a call reads the answer; that call owns parser
	parser answerParser
	failed error // why the stream cannot be used; set before state becomes answerBad

	deadlineMu   sync.Mutex // guards the next two, and the read deadline of the embedded Stream
	readDeadline time.Time  // what the application has set
	interrupted  bool       // AwaitAnswer has set another deadline, in the past

	// On the other side:
	answerMu sync.Mutex // held while the answer is written
}

// An answerState says what is known of the answer. The states of the side that has opened the stream:
//
//	answerAwaited --accepted--> answerGood
//	     |
//	     +--refused, malformed--> answerBad
//
// Those of the other side:
//
//	answerDue --Accept, Write, ReadFrom--> answerGood
//	     |
//	     +--Refuse--> answerBad
type answerState uint32

const (
	answerAwaited answerState = iota // Read waits for the answer
	answerDue                        // the answer was not written yet
	answerGood                       // the stream was accepted
	answerBad                        // the stream was refused, or the answer is malformed
)

func (s *Stream) is(x answerState) bool { return answerState(s.state.Load()) == x }

func (s *Stream) set(x answerState) { s.state.Store(uint32(x)) }

var (
	_ net.Conn      = (*Stream)(nil)
	_ io.WriterTo   = (*Stream)(nil)
	_ io.ReaderFrom = (*Stream)(nil)
)

// Name returns the name of the service.
func (s *Stream) Name() string { return s.name }

// Metadata returns the metadata of the header. It is nil if there is none, and on the side that has opened the stream.
func (s *Stream) Metadata() map[string]string { return s.metadata }

// NetConn returns the stream below, for functions that look for it.
func (s *Stream) NetConn() net.Conn { return s.Stream }

// opError returns err as the error of operation op, as package net does.
func (s *Stream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "smux", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// Read is [stream.Stream.Read]. On the side that has opened the stream, it waits for the answer first, and may return a
// *[RefusedError].
func (s *Stream) Read(p []byte) (int, error) {
	if err := s.beforeRead(len(p)); err != nil {
		return 0, err
	}
	return s.Stream.Read(p)
}

// WriteTo is [stream.Stream.WriteTo]. It waits for the answer as Read does.
func (s *Stream) WriteTo(w io.Writer) (int64, error) {
	err := s.beforeRead(1)
	switch {
	case err == io.EOF:
		return 0, nil
	case err != nil:
		return 0, err
	}
	return s.Stream.WriteTo(w)
}

// beforeRead waits for the answer if a Read of n bytes has to. It returns why the Read fails, or nil.
func (s *Stream) beforeRead(n int) error {
	switch answerState(s.state.Load()) {
	case answerBad:
		return s.badAnswer("read", net.ErrClosed)
	case answerAwaited:
		if n == 0 {
			return nil // the Read below reads nothing
		}
		s.turn <- struct{}{} // the call that has the token ends when this one would
		defer func() { <-s.turn }()
		return s.readAnswer()
	case answerDue, answerGood:
	}
	return nil
}

// readAnswer reads the answer. It returns nil if the stream is accepted. The caller has the token of s.turn.
func (s *Stream) readAnswer() error {
	for s.is(answerAwaited) {
		n := s.parser.missing()
		if n == 0 {
			s.handleAnswer(s.parser.result(s.name))
			break
		}
		p := make([]byte, n)
		k, err := s.Stream.Read(p)
		s.parser.got = append(s.parser.got, p[:k]...)
		if err == io.EOF && len(s.parser.got) > 0 {
			err = s.opError("read", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
	}
	if s.is(answerBad) {
		return s.badAnswer("read", net.ErrClosed)
	}
	return nil
}

// handleAnswer handles an answer. err is nil if it accepts the stream.
func (s *Stream) handleAnswer(err error) {
	s.parser.got = nil
	if err == nil {
		s.deadlineMu.Lock()
		defer s.deadlineMu.Unlock()
		s.endInterrupt()
		s.set(answerGood) // from now on, other calls may read
		return
	}
	s.failed = err
	s.set(answerBad)
	_ = s.Stream.Close() // ends the Writes, too; what was written was refused
}

// badAnswer returns the error of a call in answerBad. refusing is that of the side that has refused the stream.
func (s *Stream) badAnswer(op string, refusing error) error {
	if s.turn == nil {
		return s.opError(op, refusing)
	}
	return s.opError(op, s.failed)
}

// AwaitAnswer waits until the other side has accepted or refused the stream. It takes none of the data. It returns nil if
// the stream is accepted, ctx's error, or what a Read would return: a *[RefusedError], or io.EOF if the other side has
// closed without an answer. The read deadline applies, too. On the side that answers, AwaitAnswer returns nil at once.
//
// The other side accepts with its first data. It calls [Stream.Accept] if the opener should know before that.
func (s *Stream) AwaitAnswer(ctx context.Context) error {
	if s.turn == nil || s.is(answerGood) {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return s.opError("read", ctx.Err())
	}
	defer func() { <-s.turn }()
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		s.interrupt()
		close(interrupted)
	})
	err := s.readAnswer()
	if stop() {
		return err
	}
	<-interrupted // or else it would end later calls
	s.deadlineMu.Lock()
	defer s.deadlineMu.Unlock()
	s.endInterrupt()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return s.opError("read", ctx.Err())
	}
	return err
}

// interrupt ends readAnswer.
func (s *Stream) interrupt() {
	s.deadlineMu.Lock()
	defer s.deadlineMu.Unlock()
	if s.is(answerAwaited) {
		s.interrupted = true
		_ = s.Stream.SetReadDeadline(time.Unix(1, 0))
	}
}

// endInterrupt sets the deadline of the application again. The caller holds s.deadlineMu.
func (s *Stream) endInterrupt() {
	if s.interrupted {
		s.interrupted = false
		_ = s.Stream.SetReadDeadline(s.readDeadline)
	}
}

// SetDeadline is [stream.Stream.SetDeadline].
func (s *Stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline is [stream.Stream.SetReadDeadline]. Waiting for the answer ends at the deadline, too.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.deadlineMu.Lock()
	defer s.deadlineMu.Unlock()
	s.readDeadline = t
	if s.interrupted {
		return nil // endInterrupt sets it
	}
	return s.Stream.SetReadDeadline(t)
}

// Write is [stream.Stream.Write]. It does not wait for the answer. After a refusal it returns a *[RefusedError] on the side
// that has opened the stream. On the other side, the first Write accepts the stream.
func (s *Stream) Write(p []byte) (int, error) {
	if s.is(answerGood) {
		return s.Stream.Write(p)
	}
	if err := s.beforeWrite(); err != nil {
		return 0, err
	}
	n, err := s.Stream.Write(p)
	return n, s.writeErr(err)
}

// ReadFrom is [stream.Stream.ReadFrom], with the differences of Write.
func (s *Stream) ReadFrom(r io.Reader) (int64, error) {
	if s.is(answerGood) {
		return s.Stream.ReadFrom(r)
	}
	if err := s.beforeWrite(); err != nil {
		return 0, err
	}
	n, err := s.Stream.ReadFrom(r)
	return n, s.writeErr(err)
}

// WriteLazily is [stream.Stream.WriteLazily], with the differences of Write.
func (s *Stream) WriteLazily(p []byte) (int, error) {
	if err := s.beforeWrite(); err != nil {
		return 0, err
	}
	n, err := s.Stream.WriteLazily(p)
	return n, s.writeErr(err)
}

// beforeWrite accepts a stream whose answer is due. It returns why a Write fails, or nil.
func (s *Stream) beforeWrite() error {
	switch answerState(s.state.Load()) {
	case answerBad:
		return s.badAnswer("write", net.ErrClosed)
	case answerDue:
		return s.accept(true)
	case answerAwaited, answerGood:
	}
	return nil
}

// writeErr returns the error of a Write that has failed with err: the refusal if there is one.
func (s *Stream) writeErr(err error) error {
	if err == nil || s.turn == nil || s.is(answerGood) {
		return err
	}
	if errors.Is(err, stream.ErrPeerClosed) {
		s.readAnswerBehindFIN()
	}
	if s.is(answerBad) {
		return s.opError("write", s.failed)
	}
	return err
}

// readAnswerBehindFIN reads the answer of a peer that has closed the stream: it has arrived before the FIN, so that no
// Read waits. The deadline of the application does not count.
func (s *Stream) readAnswerBehindFIN() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.deadlineMu.Lock()
	_ = s.Stream.SetReadDeadline(time.Time{})
	s.deadlineMu.Unlock()
	_ = s.readAnswer()
	s.deadlineMu.Lock()
	_ = s.Stream.SetReadDeadline(s.readDeadline)
	s.deadlineMu.Unlock()
}

// Accept accepts the stream and tells the opener at once. It fails as Write does, and with [ErrAnswered] if the stream was
// refused. It does nothing if the stream was accepted already, and on the side that has opened it.
func (s *Stream) Accept() error {
	if s.turn != nil || s.is(answerGood) {
		return nil
	}
	return s.accept(false)
}

// accept accepts the stream. lazily says that more data follows at once.
func (s *Stream) accept(lazily bool) error {
	s.answerMu.Lock()
	defer s.answerMu.Unlock()
	if !s.is(answerDue) {
		return s.afterAnswer()
	}
	err := io.ErrShortWrite
	if lazily {
		_, err = s.Stream.WriteLazily(accepted)
	}
	if err == io.ErrShortWrite {
		_, err = s.Stream.Write(accepted)
	}
	if err == nil {
		s.set(answerGood)
	}
	return err
}

// afterAnswer returns what a Write or Accept returns that finds the stream answered.
func (s *Stream) afterAnswer() error {
	if s.is(answerBad) {
		return s.opError("write", ErrAnswered)
	}
	return nil
}

// Refuse refuses the stream and closes it. The opener's calls return a *[RefusedError] with the code and the text, of
// which [MaxText] bytes are sent. What the opener has written is thrown away. Use codes from 64 on, unless one of this
// package says what is true.
//
// Refuse fails with [ErrAnswered] if the stream was accepted or refused already, and then changes nothing. If it fails as
// Write does, the stream is closed without an answer. It blocks as Write does. On the side that has opened the stream it
// fails with errors.ErrUnsupported.
func (s *Stream) Refuse(code Code, text string) error {
	if s.turn != nil {
		return s.opError("refuse", errors.ErrUnsupported)
	}
	s.answerMu.Lock()
	defer s.answerMu.Unlock()
	if !s.is(answerDue) {
		return s.opError("refuse", ErrAnswered)
	}
	s.set(answerBad)
	_, err := s.Stream.Write(encodeRefusal(code, text))
	if cerr := s.Stream.Close(); err == nil {
		err = cerr
	}
	return err
}
