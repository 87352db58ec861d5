// Package flow decides who may send or keep how many bytes: the two windows of a
// stream, the unread bytes and promised windows of sessions, and rates.
//
// A [SendWindow] counts what a peer allows, a [ReceiveWindow] what this side
// allows. Its size follows path and reader without configuration: it grows when
// the reader has taken all that the peer could send, and waits, while the update
// that frees the peer cannot have taken effect yet. A [Budget] bounds what
// sessions hold unread and the sum of what they promise; each has a [Share] of it,
// which is the [Granter] that its windows ask. A [Limiter] is a rate.
//
// Nothing here starts a goroutine, reads a transport or knows a wire format; the
// windows are told the time. So each part also serves another protocol (see the
// examples). Only Share.Wait and Limiter.Wait block.
//
// # How a window finds its size
//
// The round trip is measured without a ping. An update that raises the limit from
// L0 to L1 is timed until the first byte beyond L0 arrives: that byte could not be
// sent before. The sample is exact if a frame had ended right at L0, for then the
// peer stood still there. Windows are odd so that this does not happen by chance;
// the first one is a round number, so there the pause itself must show. A sender
// that does not use its window to the last byte is never taken for a blocked one,
// and its window does not grow. The least exact sample is the round trip. It is
// raised only by many exact samples in a row with a pause that no queue explains.
// Of the updates of a round trip the first after the longest pause is timed, as it
// ends the next such pause.
//
// When the reader has read up to L0 earlier than a round trip after that update,
// reader and sender both wait, and the window is the limit: it grows to the
// double, or to four times and at least 512 KiB if they wait for half the round
// trip or more. Growth is told at once. A reader that lags behind never reads up to L0 in time, and a
// sender with little to send never stops there, so neither makes it grow. A reader
// that lags all the time makes it shrink. One that was away while bytes lay there for an
// eighth of a round trip, and then takes them all at once, was not held up either.
//
// Before a round trip is known the window grows to 512 KiB at most. Below a round
// trip of 10 ms what is measured may be work, not distance: two processes taking
// turns on a core look like a short path. There each growth beyond 512 KiB is a
// trial, and is undone unless the rate rises by a fifth. In no case is the window
// larger than 32 Gbit/s can fill in a round trip, if that is more than 512 KiB.
//
// Within a machine a path holds next to nothing, and what a stream may send lies in the
// transport's queue. Where short messages that somebody waits for go beside bulk
// data, [Share.SetWindowCap] lowers the windows of such paths for a while.
//
// An update is due each time the reader passes a multiple of a quarter of the
// window; of half of it if the round trip is less than 1 ms. A path is thus filled by a window of 4/3 of what
// it holds.
//
// # Promises
//
// Every window is a promise, and the sum of all promises on a budget stays within
// seven eighths of it. New streams share a quarter of that, each getting less than
// the one before once it runs low; the rest is for streams that show a need, each
// of which gets up to half of what is left at a time. When less than a quarter is
// left promises are scarce (Share.Pressed): windows of streams that work shrink to
// twice their need, and the owner may offer its idle ones to ReceiveWindow.Reclaim
// (Share.OnPressure says when).
//
// Four things are not promises, and are what the last eighth is for. A window is
// never below 16 KiB, promised or not, as a stream without one could not show that
// it needs one. A peer may send its first 262,144 bytes before it hears that the
// window was lowered; bytes that it was ever granted stay legal. A peer may overrun
// the window of a stream by Share.MaxOverrun. And version 1 has no windows. If all
// this together is more than the budget holds, because thousands of streams are
// unread at once, Share.Full stops the whole session, so that the bound on memory
// holds in any case.
package flow
