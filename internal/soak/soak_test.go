package main

import (
	"testing"
	"time"
)

// The first rounds of a seed pass, with small sizes. This compiles and runs the program. To find faults, run it
// for longer: make soak.
func TestSoakPassesItsFirstRounds(t *testing.T) {
	rounds := uint64(12)
	if testing.Short() {
		rounds = 3
	}
	s := soak{out: t.Output(), seed: 1, verbose: testing.Verbose(), small: true, every: time.Hour}
	for k := range rounds {
		if err := s.round(k); err != nil {
			t.Fatal(err)
		}
	}
}

// Equal seeds give equal rounds, and equal behaviours at both ends.
func TestPlanFollowsFromItsSeed(t *testing.T) {
	for k := range uint64(100) {
		a, b := drawPlan(7, k, false), drawPlan(7, k, false)
		if a.String() != b.String() {
			t.Fatalf("round %d is drawn as\n%v\nand then as\n%v", k, a, b)
		}
		if x, y := a.behaviours(1, 9), b.behaviours(1, 9); *x[0] != *y[0] || *x[1] != *y[1] {
			t.Fatalf("round %d: a stream behaves in two ways", k)
		}
		if c := drawPlan(8, k, false); c.String() == a.String() {
			t.Fatalf("round %d is the same for another seed", k)
		}
		for end := range a.Ends {
			if err := a.config(end, nil).Validate(); err != nil && a.Storm == "" && a.Pool == "" {
				t.Fatalf("round %d: %v", k, err)
			}
		}
	}
}

// A round of each transport passes, and so does one in which IdleTimeout ends the sessions.
func TestSoakPassesARoundOfEachTransport(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	runs := func(what string, is func(*plan) bool) {
		for k := uint64(0); ; k++ {
			p := drawPlan(5, k, true)
			if p.Pool != "" || p.Storm != "" || p.Services > 0 || p.Freeze > 0 || !is(p) {
				continue
			}
			if failures := newRound(p).run(); len(failures) > 0 {
				t.Errorf("%s: round %d: %v\n%v", what, k, failures, p)
			}
			return
		}
	}
	for _, transport := range transports {
		runs(transport, func(p *plan) bool { return p.Transport == transport && p.undisturbed() })
	}
	runs("IdleTimeout", func(p *plan) bool { return p.Disturbance == idles })
}

// A round of each kind with a Dialer and a Listener passes.
func TestSoakPassesPoolRounds(t *testing.T) {
	for _, kind := range poolKinds {
		for _, transport := range []string{"tcp", "tls"} {
			p := &plan{Seed: 3, Round: 1, Procs: 2, Version: 2, Transport: transport, Pool: kind, Small: true}
			if failures := newRound(p).run(); len(failures) > 0 {
				t.Errorf("%v: %v", p, failures)
			}
		}
	}
}
