// Package shaper decides whose frame goes out next.
//
// Everything that has something to send owns a [Flow]. Its owner pushes the
// flow into a [Scheduler], in one or both of two classes: [Control] for frames
// that must not wait (SYN, NOP, window updates) and [Data] for payload and the
// FIN behind it. The writer asks Pop whose turn it is, builds the frames itself,
// and settles the turn with EndTurn. The scheduler never sees a frame, only bytes,
// so it serves any protocol and any transport.
//
// [Fair] is the default: control first, yet unable to starve data, and data
// shared in bytes by deficit round robin, where a flow that is new or quiet goes
// before those that always have more to send.
//
// Nothing here locks, blocks, allocates, starts a goroutine or reads a clock.
// One lock of the owner's guards a scheduler and every flow in it.
package shaper
