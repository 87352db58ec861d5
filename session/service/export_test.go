package service

// SetMaxQueue sets how many streams wait for a listener that is made later, and returns a function that resets it.
func SetMaxQueue(n int) (reset func()) {
	before := maxQueue
	maxQueue = n
	return func() { maxQueue = before }
}
