// Package shaper schedules many senders on one transport: it decides who sends next.
//
// Each sender has a [Flow]. When it has something to send, it pushes the flow into a
// [Scheduler], in one or both of two classes. [Control] is for frames that must not
// wait: SYN, NOP, window updates. [Data] is for payload, and for the FIN behind it.
// The owner of the transport takes the next flow with Pop, builds and sends the flow's
// frames, and ends the turn with EndTurn. A scheduler counts bytes and never sees a
// frame, so it serves any protocol and any transport.
//
// [Fair] is the default scheduler. It sends control first, but control cannot starve
// data. It shares data in bytes by deficit round robin. A flow that is new or was quiet
// goes before flows that always have more to send.
//
// Nothing in this package locks, blocks, allocates, starts a goroutine or reads a
// clock. One lock of the owner guards a scheduler and every flow in it.
package shaper
