package simnet

// Stall stops this direction: nothing arrives and no Read returns bytes, not even bytes that had arrived. Bytes in
// flight wait, and so does the end of the stream. Write blocks when the sender's buffer is full. A segment that
// was being sent still leaves the buffer. A second Stall changes nothing.
func (d *Direction) Stall() {
	p := d.pair
	p.mu.Lock()
	defer p.unlock()
	now := p.now()
	if !d.stalled {
		d.stalled = true
		d.log(now, OpStall, 0, nil)
	}
}

// Unstall ends a stall. Bytes that were in flight for long enough arrive at once, and the sender's buffer drains
// at the link's rate.
func (d *Direction) Unstall() {
	p := d.pair
	p.mu.Lock()
	defer p.unlock()
	now := p.now()
	if !d.stalled {
		return
	}
	d.stalled = false
	d.resumed = now
	d.log(now, OpUnstall, 0, nil)
	d.begin(now)
	p.advance(now)
	d.wakeReaders() // for what had arrived before the stall
}
