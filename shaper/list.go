package shaper

// link is a flow's place in one list.
type link struct{ next, prev *Flow }

// list is a queue of flows, linked through the flows themselves. A flow is in at
// most one list of each class, so the class picks the link to use.
type list struct{ head, tail *Flow }

func (l *list) empty() bool { return l.head == nil }

func (l *list) pushBack(f *Flow, c Class) {
	f.link[c&1] = link{prev: l.tail}
	if l.tail == nil {
		l.head = f
	} else {
		l.tail.link[c&1].next = f
	}
	l.tail = f
}

func (l *list) pushFront(f *Flow, c Class) {
	f.link[c&1] = link{next: l.head}
	if l.head == nil {
		l.tail = f
	} else {
		l.head.link[c&1].prev = f
	}
	l.head = f
}

func (l *list) remove(f *Flow, c Class) {
	at := f.link[c&1]
	if at.prev == nil {
		l.head = at.next
	} else {
		at.prev.link[c&1].next = at.next
	}
	if at.next == nil {
		l.tail = at.prev
	} else {
		at.next.link[c&1].prev = at.prev
	}
	f.link[c&1] = link{}
}
