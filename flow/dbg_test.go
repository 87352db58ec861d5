package flow_test
import ("testing";"time";"github.com/smuxkit/smuxkit/flow")
func TestDbg(t *testing.T){
	sim := &simulation{}
	x := newTransfer(t, sim, 10*gbit, time.Millisecond, flow.NewShare(32<<20))
	flow.Dbg = func(s string, a ...any){ t.Logf("%v "+s, append([]any{sim.now}, a...)...) }
	x.write(64<<20)
	sim.run(time.Hour)
	flow.Dbg = nil
}
