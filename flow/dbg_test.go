package flow_test
import ("testing";"time";"github.com/smuxkit/smuxkit/flow")
func TestDbg(t *testing.T){
	sim := &simulation{}
	x := newTransfer(t, sim, gbit, 20*time.Millisecond, flow.NewShare(32<<20))
	flow.Dbg = func(s string, a ...any){ t.Logf("%v "+s, append([]any{sim.now}, a...)...) }
	x.write(1<<34)
	sim.run(2*time.Second)
	x.link.delay, x.back.delay = 50*time.Millisecond, 50*time.Millisecond
	sim.run(10*time.Second)
	flow.Dbg = nil
}
