package shaper_test

import (
	"slices"

	"github.com/smuxkit/smuxkit/shaper"
)

// A model is Fair as its comment describes it, slow and plain: slices for lists, booleans for
// states, rounds that never wrap.
type model struct {
	quantum                   int
	control, fresh, old       []int // flows by number
	flows                     []modelFlow
	round, controlRun, newRun int
}

type modelFlow struct {
	weight, credit, round   int // round 0 is never
	controlTurn, dataTurn   bool
	controlAgain, dataAgain bool
	turnOfNew               bool
}

func newModel(flows, quantum int) *model {
	m := &model{quantum: quantum, round: 1, flows: make([]modelFlow, flows)}
	for i := range m.flows {
		m.flows[i].weight = 1
	}
	return m
}

func (m *model) push(i int, c shaper.Class) {
	f := &m.flows[i]
	switch {
	case c == shaper.Control && f.controlTurn:
		f.controlAgain = true
	case c == shaper.Control:
		if !slices.Contains(m.control, i) {
			m.control = append(m.control, i)
		}
	case f.dataTurn:
		f.dataAgain = true
	case slices.Contains(m.fresh, i) || slices.Contains(m.old, i):
	case f.round > m.round: // its credit is not due yet
		m.old = append(m.old, i)
	default:
		share := f.weight * m.quantum
		if f.round == 0 {
			f.credit = share
		} else if f.round < m.round {
			rest := max(f.credit, 0)
			if m.worthATurn(i) {
				rest = 0
			}
			f.credit = min(share+rest, f.credit+share*(m.round-f.round))
		}
		f.round = m.round
		if m.worthATurn(i) {
			m.fresh = append(m.fresh, i)
		} else {
			m.renew(i)
		}
	}
}

func (m *model) worthATurn(i int) bool {
	f := m.flows[i]
	return f.credit >= m.quantum/2 || f.credit > 0 && f.weight > 1
}

func (m *model) renew(i int) {
	f := &m.flows[i]
	f.credit += f.weight * m.quantum
	f.round = m.round + 1
	m.old = append(m.old, i)
}

func (m *model) pop() (i int, c shaper.Class, n int) {
	dataWaits := len(m.fresh)+len(m.old) > 0
	if !dataWaits {
		m.controlRun = 0
	}
	if len(m.control) > 0 && m.controlRun < 16<<10 {
		i, m.control = m.control[0], m.control[1:]
		m.flows[i].controlTurn = true
		m.controlRun += 1 << 10
		return i, shaper.Control, 1 << 10
	}
	if !dataWaits {
		return -1, 0, 0
	}
	m.controlRun -= m.quantum
	if len(m.old) == 0 {
		m.newRun = 0
	}
	if len(m.fresh) > 0 && m.newRun < 8*m.quantum {
		i, m.fresh = m.fresh[0], m.fresh[1:]
		m.flows[i].dataTurn, m.flows[i].turnOfNew = true, true
		m.newRun += m.quantum
		return i, shaper.Data, m.quantum
	}
	m.newRun = 0
	for {
		i, m.old = m.old[0], m.old[1:]
		f := &m.flows[i]
		if len(m.fresh) == 0 {
			m.round = max(m.round, f.round)
		}
		if f.credit > 0 {
			f.dataTurn, f.turnOfNew = true, false
			return i, shaper.Data, max(m.quantum, f.credit)
		}
		m.renew(i)
	}
}

func (m *model) endTurn(i int, c shaper.Class, n int, more bool) {
	f := &m.flows[i]
	if c == shaper.Control {
		if !f.controlTurn {
			return
		}
		if more || f.controlAgain {
			m.control = append(m.control, i)
		}
		f.controlTurn, f.controlAgain = false, false
		m.controlRun = max(0, m.controlRun-1<<10+n)
		return
	}
	if !f.dataTurn {
		return
	}
	more = more || f.dataAgain
	f.dataTurn, f.dataAgain = false, false
	f.credit -= n
	m.controlRun = max(0, m.controlRun+m.quantum-n)
	if f.turnOfNew {
		m.newRun = max(0, m.newRun-m.quantum+max(n, m.quantum/16))
	}
	switch {
	case !more:
	case f.credit <= 0:
		m.renew(i)
	case n == 0:
		m.old = append(m.old, i)
	case !f.turnOfNew:
		m.old = slices.Insert(m.old, 0, i)
	case f.credit > (f.weight-1)*m.quantum:
		m.fresh = slices.Insert(m.fresh, 0, i)
	default:
		m.fresh = append(m.fresh, i)
	}
}
