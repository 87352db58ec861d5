// Package conversation follows smux sessions by the bytes of both directions of a connection.
//
// A source feeds a [Conn] with [Conn.Data], [Conn.Gap] and [Conn.EndDir]. The Conn decodes the frames with package wire,
// follows the streams, and calls [Options].Handle for each frame and each thing worth to be told. When the connection
// is over, its fields and [Conn.Streams] are the summary.
package conversation
