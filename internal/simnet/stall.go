package simnet

// Stall stops this direction: from now on nothing arrives and no Read returns
// bytes, not even such as had arrived. What is in flight waits; so does the end of
// the stream. Once the sender's buffer is full, Write blocks. A segment that was
// being sent still leaves the buffer. Stalling twice is stalling once.
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

// Unstall ends a stall: what has been in flight for long enough arrives at once,
// and the sender's buffer is drained again, at the link's rate.
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
	d.readable.Broadcast() // for what had arrived before the stall
}
