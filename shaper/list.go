package shaper

// node is a flow's place in one list.
type node struct{ next, prev *Flow }

// list is a queue of flows, linked through the flows themselves. A flow is in at
// most one list of each class, and has one node per class.
type list struct{ head, tail *Flow }

func (l *list) empty() bool { return l.head == nil }

func (l *list) pushBack(f *Flow, c Class) {
	f.node[c&1] = node{prev: l.tail}
	if l.tail == nil {
		l.head = f
	} else {
		l.tail.node[c&1].next = f
	}
	l.tail = f
}

func (l *list) pushFront(f *Flow, c Class) {
	f.node[c&1] = node{next: l.head}
	if l.head == nil {
		l.tail = f
	} else {
		l.head.node[c&1].prev = f
	}
	l.head = f
}

func (l *list) remove(f *Flow, c Class) {
	at := f.node[c&1]
	if at.prev == nil {
		l.head = at.next
	} else {
		at.prev.node[c&1].next = at.next
	}
	if at.next == nil {
		l.tail = at.prev
	} else {
		at.next.node[c&1].prev = at.prev
	}
	f.node[c&1] = node{}
}
