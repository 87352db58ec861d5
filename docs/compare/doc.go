// Package compare holds no code, only a test: it does what the table in docs/compare.md speaks
// of with each of the libraries, and fails if the table says anything else. README.md has some
// of its rows.
//
// Rows that no program can tell, such as the license, were read from the sources. All
// configurations are the defaults. The module is nested so that the libraries stay out of
// smuxkit's go.mod.
package compare
