// Package flow implements flow control: windows for streams, memory budgets for sessions,
// and rate limits.
//
//   - A [SendWindow] counts how many bytes a peer allows this side to send on a stream.
//   - A [ReceiveWindow] counts how many bytes this side allows its peer to send. It finds
//     its size without configuration.
//   - A [Budget] bounds the bytes that sessions hold, and the sum of the windows that they
//     commit to their peers. Each session has an [Account] of a budget. The account is the
//     [Allocator] that the session's windows ask for their size.
//   - A [Limiter] limits bytes to a [Rate].
//
// The package starts no goroutine, reads no transport and knows no wire format, and the
// caller passes the time to windows. So each part can serve another protocol; see the
// examples. Only [Account.Wait] and [Limiter.Wait] block.
//
// # Offsets
//
// Both ends count the bytes of a stream from the first one, modulo 2^32. The receiver has
// these offsets:
//
//	0           read          received          limit             edge
//	|------------|---------------|-----------------|-----------------|
//	 read by the   unread          the peer may      the peer may have
//	 application                   send these        sent these
//
// An update carries read and the size of the window. It sets limit to their sum. limit
// moves back if the window shrinks by more bytes than were read. edge is the highest limit
// of all updates. Bytes up to edge are legal, as the peer may not have received the last
// update yet. A peer that sends beyond edge overruns its window. At all times
//
//	read <= received,  limit <= edge
//
// The sender has these offsets:
//
//	0         consumed          sent        consumed + window
//	|------------|---------------|-----------------|
//	 read by      sent, and not    may be sent:
//	 the peer     read yet         Available
//
// consumed and window are those of the last update that arrived. Available is 0 while
// consumed + window is less than sent.
//
// # How a window finds its size
//
// The receiver measures the round trip without a ping. An update moves the limit from L0
// to L1. The sender cannot send a byte beyond L0 before it has received the update. So the
// time from the update to the arrival of that byte is a sample of the round trip:
//
//	receiver  --- update (L0 -> L1) ------------------ first byte beyond L0 --->
//	                       \                           /
//	sender    ------------- blocked at L0 -- receives it, sends -------------->
//
//	                read                 L0                        L1
//	stream    ---------|------------------|-------------------------|---------->
//	                    may be sent        may be sent
//	                    without the update because of it
//
// A sample is exact if a frame ended at L0: then the sender was blocked there. The sizes
// of windows are odd, so that frames do not end there by chance. A sender that does not
// use its whole window never looks blocked, and its window does not grow. The smallest
// exact sample is the round trip. It rises only after 32 exact samples in a row that are
// longer and contain a pause that no queue explains.
//
// The window grows if it is the limit. That is so if the application has read all bytes up
// to L0 earlier than a round trip after the update: then both reader and sender wait.
//
//   - The window doubles. If they wait for half of the round trip or more, it grows to four
//     times its size and at least 512 KiB. An update is sent at once.
//   - If the round trip is 10 ms or more, the window also doubles when the application reads half
//     of it in a round trip: TCP sends two to three times as much in the next one when a
//     connection begins.
//   - If the round trip is 10 ms or more, and the Allocator knows that of the transport
//     ([PathReporter]), the window grows to four times what the application reads in a round
//     trip, as soon as that is three eighths of the window. So it does not have to hold the
//     sender up first.
//   - If the reader lags behind, it does not read up to L0 in time. If the sender has
//     little to send, it is not blocked at L0. In both cases the window does not grow.
//   - If the reader did other work for an eighth of the round trip (at least 1.25 ms) while
//     bytes were unread, and then reads all of them at once, the window does not grow
//     either.
//   - If the reader always lags behind, the window shrinks.
//
// There are three bounds. Until the round trip is known, the window grows to 512 KiB at
// most. If the round trip is below 10 ms, it may be processing time and not distance: two
// processes that take turns on a core look like a short path. Then each growth beyond
// 512 KiB is a trial, which is undone unless the rate rises by a fifth. And no window is
// larger than the bytes that 32 Gbit/s carry in a round trip, or 512 KiB if that is more.
//
// An update is due when the reader passes a multiple of a quarter of the window, but of 512 KiB
// at most, or of half of the window if the round trip is below 1 ms. So a window of 4/3 of the
// bytes that a path holds fills the path, and one of 512 KiB more does if that is less.
//
// Within one machine a path holds next to no data. What a window allows waits in the
// transport. If short messages share the transport with bulk data, an Allocator that is a
// [WindowCapper] can lower the windows of such paths for a while.
//
// # Committed windows
//
// Each window commits memory to a peer. The sum of all windows of a budget is at most
// seven eighths of the budget. New streams share a quarter of that; each gets less than
// the one before when little of it is left. The rest is for streams that need more. Such a
// stream gets up to half of what is left at a time.
//
// When less than a quarter is left, the budget is under pressure ([Account.UnderPressure]).
// Then windows of streams in use shrink to twice their need, and a session may offer its
// idle streams to [ReceiveWindow.Reclaim]; [Account.OnPressure] says when.
//
// Four things are not committed. The last eighth is for them:
//
//   - A window is never below 16 KiB, committed or not, because a stream without a window
//     could not show that it needs one.
//   - A peer may send its first 262,144 bytes before it learns that the window is smaller,
//     and may always send up to edge.
//   - A peer may overrun the window of a stream by [Account.MaxOverrun].
//   - Version 1 of the protocol has no windows.
//
// If thousands of streams are unread at once, all this together can exceed the budget. Then
// [Account.Full] stops the whole session, so memory stays bounded in any case.
package flow
