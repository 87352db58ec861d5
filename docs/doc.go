// Package docs exports nothing. Its tests compile and run the code of the guides beside it; the test of internal/refs checks
// that each block of Go code in a document is in a Go file.
package docs
