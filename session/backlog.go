package session

// A backlog is a queue of streams that wait to be accepted. It is linked through the streams, so that it allocates
// nothing.
type backlog struct {
	head, tail *sessionStream
	n          int
}

func (b *backlog) push(st *sessionStream) {
	if b.tail == nil {
		b.head = st
	} else {
		b.tail.nextWaiting = st
	}
	b.tail = st
	b.n++
}

// pop removes the first stream and returns it, or nil if there is none.
func (b *backlog) pop() *sessionStream {
	st := b.head
	if st == nil {
		return nil
	}
	b.head, st.nextWaiting = st.nextWaiting, nil
	if b.head == nil {
		b.tail = nil
	}
	b.n--
	return st
}

// takeAll removes all streams and returns them, in order.
func (b *backlog) takeAll() []*sessionStream {
	all := make([]*sessionStream, 0, b.n)
	for st := b.pop(); st != nil; st = b.pop() {
		all = append(all, st)
	}
	return all
}
