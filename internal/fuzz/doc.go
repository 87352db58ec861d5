// Package fuzz has the fuzz targets for whole sessions. They are not among the tests of package session because the
// fuzzer checks the counters of every package in the binary after each input: with net/http and go-cmp this takes
// three times as long.
//
// FuzzServer and FuzzClient feed a session with arbitrary bytes. FuzzStreams lets a peer and an application of a
// session act in turn, and compares each step with a model. FuzzPair connects two sessions by a simulated link,
// disturbs it, and checks that everything arrives in the end.
//
// The last two decode their input into a program, which a failure prints as text. Seeds are such texts: a finding
// becomes a test when it is added to the seeds, which every "go test" runs.
//
// Inputs are short, since the fuzzer minimizes findings in quadratic time. Nothing waits in real time: an input runs
// in a testing/synctest bubble, in which a goroutine that stays is a failure.
package fuzz
