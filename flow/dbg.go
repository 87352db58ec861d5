package flow
var Dbg func(string, ...any)
