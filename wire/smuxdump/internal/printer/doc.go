// Package printer prints what package conversation finds: as text, as lines of JSON, or as a summary.
package printer
