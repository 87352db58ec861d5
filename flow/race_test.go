//go:build race

package flow_test

// raceEnabled shortens the simulations, which are one goroutine each: the race
// detector finds nothing in them and makes them ten times slower.
const raceEnabled = true
