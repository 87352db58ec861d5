// Package source feeds a [conversation.Set] from captures, dumps of one direction, and connections that pass through a
// proxy.
package source
