// Package flow decides who may send and who may keep how many bytes. It has the two
// windows of a stream, budgets for the unread data and the windows of sessions, and
// rate limits.
//
// A [SendWindow] counts what a peer allows, a [ReceiveWindow] what this side allows. A
// receive window finds its size without configuration. A [Budget] bounds what
// sessions hold unread, and the sum of the windows that they promise to their peers.
// Each session has a [Share] of it, which is the [Granter] that its windows ask. A
// [Limiter] is a rate limit.
//
// Nothing here starts a goroutine, reads a transport or knows a wire format, and
// windows are told the time. So each part can serve another protocol; see the
// examples. Only [Share.Wait] and [Limiter.Wait] block.
//
// # Offsets
//
// Both ends count the bytes of a stream from its first one, modulo 2^32. The receiver
// has these offsets:
//
//	0            read           received           limit            edge
//	|-------------|----------------|-----------------|----------------|
//	  read by the   unread           the peer may      granted once and
//	  application                    send these        taken back; legal
//
// An update tells read and the size of the window. It moves the limit to their sum.
// The limit moves back if the window was lowered by more than was read; edge is the
// highest limit there ever was. A peer that sends beyond edge overruns its window. The
// sender has these offsets:
//
//	0          consumed           sent          consumed + window
//	|-------------|-----------------|------------------|
//	  read by the   sent, and not     may be sent:
//	  peer          yet read          Available
//
// consumed and window are those of the last update that arrived. Available is 0 while
// a lowered window ends before sent.
//
// # How a window finds its size
//
// The round trip is measured without a ping. An update that moves the limit from L0 to
// L1 is timed until the first byte beyond L0 arrives: that byte could not be sent
// before. The sample is exact if a frame ended right at L0, for then the peer stood
// still there. Sizes of windows are odd so that this does not happen by chance. A
// sender that does not use its window to the last byte is thus never taken for a
// blocked one, and its window does not grow. The least exact sample is the round trip.
// It is raised only by many exact samples in a row with a pause that no queue explains.
//
// When the reader has read up to L0 earlier than a round trip after that update, both
// reader and sender wait, and the window is the limit. It grows to the double; if they
// wait for half the round trip or more, to four times and at least 512 KiB. Growth is
// told at once. A reader that lags behind never reads up to L0 in time, and a sender
// with little to send never stops there: neither makes the window grow. A reader that
// lags all the time makes it shrink. A reader that was away while bytes lay there for
// an eighth of a round trip, and then takes them all at once, was not held up either.
//
// Before a round trip is known the window grows to 512 KiB at most. Below a round trip
// of 10 ms what is measured may be work and not distance: two processes that take turns
// on a core look like a short path. There each growth beyond 512 KiB is a trial, and is
// undone unless the rate rises by a fifth. In no case is the window larger than what
// 32 Gbit/s fill in a round trip, if that is more than 512 KiB.
//
// An update is due each time the reader passes a multiple of a quarter of the window,
// or of half of it if the round trip is less than 1 ms. A path is thus filled by a
// window of 4/3 of what it holds.
//
// Within a machine a path holds next to nothing, and what a stream may send waits in
// the transport. Where short messages that somebody waits for go beside bulk data,
// [Share.SetWindowCap] lowers the windows of such paths for a while.
//
// # Promises
//
// Every window is a promise, and the sum of all promises on a budget stays within
// seven eighths of it. New streams share a quarter of that; each gets less than the
// one before once it runs low. The rest is for streams that show a need. Each of these
// gets up to half of what is left at a time. When less than a quarter is left,
// promises are scarce ([Share.Pressed]): windows of streams that work shrink to twice
// their need, and the owner may offer its idle ones to [ReceiveWindow.Reclaim]
// ([Share.OnPressure] says when).
//
// Four things are not promised, and are what the last eighth is for:
//
//   - A window is never below 16 KiB, promised or not, as a stream without one could
//     not show that it needs one.
//   - A peer may send its first 262,144 bytes before it hears that the window was
//     lowered. Bytes that it was ever granted stay legal.
//   - A peer may overrun the window of a stream by [Share.MaxOverrun].
//   - Version 1 of the protocol has no windows.
//
// If all this together is more than the budget holds, because thousands of streams are
// unread at once, [Share.Full] stops the whole session, so that the bound on memory
// holds in any case.
package flow
