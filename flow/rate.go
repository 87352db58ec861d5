package flow

// A Rate configures a token bucket for bytes: over any interval at most BytesPerSecond x
// duration + Burst bytes pass. The zero value is no limit.
type Rate struct {
	// BytesPerSecond is the average rate. 0 is no limit.
	BytesPerSecond float64
	// Burst is how many bytes may pass at once. The default is the bytes of a tenth of a
	// second.
	Burst int
}
