package flow

// Rate limits how many bytes go: at most BytesPerSecond in the long run, and at most Burst at
// once. In any interval go at most the bytes that the rate brings in that time, and Burst
// more. The zero value is no limit.
type Rate struct {
	BytesPerSecond float64
	// Burst is in bytes. 0 is what the rate brings in a tenth of a second.
	Burst int
}
