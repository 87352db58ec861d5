//go:build nolatency

package session

// withLatency says whether sessions have a latency.
const withLatency = false
