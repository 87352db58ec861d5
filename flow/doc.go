// Package flow decides who may send or keep how many bytes: the two windows of
// a stream, the unread bytes of a session, and rates.
package flow
