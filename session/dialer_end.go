package session

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// Shutdown closes the Dialer gracefully. From the call on, OpenStream fails with [ErrShutdown], calls that wait fail
// with it, too, and a dial that is under way is given up. All sessions are shut down at the same time, as
// [Session.Shutdown] does: open streams go on, and Shutdown returns when all are closed.
//
// If ctx ends first, Shutdown returns its error, and the open streams go on until [Dialer.Close]. Otherwise it
// returns the errors of the sessions, joined. A nil ctx panics.
func (d *Dialer) Shutdown(ctx context.Context) error {
	needContext(ctx)
	d.stop(dialerShutdown)
	return d.endSessions(func(s *Session) error { return s.Shutdown(ctx) })
}

// Close closes the Dialer and all its sessions, also those that are retired, as [Session.Close] does: what was
// written is sent, for at most Config.CloseTimeout. Calls that wait, and all later ones, fail with [net.ErrClosed]. A
// dial that is under way is given up. Close also waits for the end of sessions that OnSession has rejected, and of one that
// it is called for. Close does not wait for Dialer.Dial and Dialer.OnSession to return: if Dial returns a transport
// later, that is closed.
//
// Close returns the errors of the sessions, joined. It may be called more than once, and while Shutdown waits.
func (d *Dialer) Close() error {
	d.stop(dialerClosed)
	return d.endSessions((*Session).Close)
}

// endSessions ends all sessions at the same time, and returns the errors of those in the pool, joined. The others have
// no user.
func (d *Dialer) endSessions(end func(*Session) error) error {
	d.mu.Lock()
	pool := d.listLocked()
	outside := slices.Collect(maps.Keys(d.outside))
	d.mu.Unlock()
	var ending sync.WaitGroup
	ending.Go(func() { _ = endAll(outside, end) })
	err := endAll(pool, end)
	ending.Wait()
	return err
}

// stop gives up the dial and the calls that wait. The Dialer is in this phase from now on, or in a later one.
func (d *Dialer) stop(next dialerPhase) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phase = max(d.phase, next)
	d.dialing.stopTimer()
	if d.dialing.cancel != nil {
		d.dialing.cancel()
	}
	d.wake()
}

// endAll ends all sessions at the same time, and returns the errors, joined.
func endAll(all []*Session, end func(*Session) error) error {
	errs := make([]error, len(all))
	var ending sync.WaitGroup
	for i, s := range all {
		ending.Go(func() { errs[i] = end(s) })
	}
	ending.Wait()
	return errors.Join(errs...)
}
