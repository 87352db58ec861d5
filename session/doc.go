// Package session carries many streams over one connection, as the smux protocol has it.
package session
