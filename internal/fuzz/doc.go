// Package fuzz holds the fuzz targets for whole sessions. It is apart from package session's
// tests because the fuzzer goes over the counters of every package in the binary after each
// input: with net/http and go-cmp among them it takes three times as long.
//
// FuzzServer and FuzzClient feed a session with whatever bytes there are. FuzzStreams has a
// peer and an application of a session act by turns, and compares each step with a model.
// FuzzPair connects two sessions by a simulated link, disturbs it, and wants everything to
// arrive in the end.
//
// The last two decode their input into a program, which a failure prints as text. The text is
// what a seed is made of: a finding becomes a test by adding it to the seeds, which every
// "go test" runs.
//
// Inputs are short, since the fuzzer minimizes what it finds in quadratic time, and nothing
// waits in real time: an input runs in a testing/synctest bubble, in which a goroutine that
// stays is a failure.
package fuzz
