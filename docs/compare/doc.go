// Package compare holds no code, only a test: it does what the table in README.md speaks
// of with each of the libraries, and fails if the table says anything else.
//
// Rows that no program can tell, such as the license, were read from the sources. All
// configurations are the defaults. The module is nested so that the libraries stay out of
// smuxkit's go.mod.
package compare
