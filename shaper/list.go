package shaper

// list is a queue of flows, linked through the flows themselves. A flow is in at
// most one list of each class, and has one link per class.
type list struct{ head, tail *Flow }

func (l *list) empty() bool { return l.head == nil }

// pushBack and pushFront add f, which is in no list of class c: its link is nil.
func (l *list) pushBack(f *Flow, c Class) {
	if l.tail == nil {
		l.head = f
	} else {
		l.tail.next[c&1] = f
	}
	l.tail = f
}

func (l *list) pushFront(f *Flow, c Class) {
	f.next[c&1] = l.head
	if l.head == nil {
		l.tail = f
	}
	l.head = f
}

// popFront removes the first flow and returns it. At least one flow must be in l.
func (l *list) popFront(c Class) *Flow {
	f := l.head
	l.head = f.next[c&1]
	if l.head == nil {
		l.tail = nil
	} else {
		f.next[c&1] = nil
	}
	return f
}
