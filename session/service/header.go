package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The limits of a header.
const (
	// MaxName is the greatest length of a service's name, in bytes. The least is 1.
	MaxName = 255
	// MaxEntries is how many entries metadata may have.
	MaxEntries = 64
	// MaxMetadata is how many bytes all keys and values together may have. A key has from 1 to 255 bytes.
	MaxMetadata = 16 << 10
	// maxKey is the greatest length of a key.
	maxKey = 255
)

// A header is a prefix and a body:
//
//	prefix: magic, length of the body (2 bytes)
//	body:   length of the name (1), name, number of entries (1), entries
//	entry:  length of the key (1), length of the value (2), key, value
//
// Numbers are little-endian. Keys are in ascending order.
const (
	// magic is the first byte of a header. Its lower half is the version of the format.
	magic      = 0xd1
	prefixSize = 3
	entrySize  = 3 // the lengths of an entry
	minBody    = 3 // a name of one byte, and no entries
	maxBody    = 2 + MaxName + MaxEntries*entrySize + MaxMetadata
)

// errHeader is wrapped by the errors of parsePrefix and parseBody.
var errHeader = errors.New("service: malformed header")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errHeader}, args...)...)
}

// checkHeader returns what is wrong with a name and metadata, or nil.
func checkHeader(name string, metadata map[string]string) error {
	var errs []error
	if n := len(name); n == 0 || n > MaxName {
		errs = append(errs, fmt.Errorf("the name has %d bytes, must have from 1 to %d", n, MaxName))
	}
	if n := len(metadata); n > MaxEntries {
		errs = append(errs, fmt.Errorf("the metadata has %d entries, may have %d", n, MaxEntries))
	}
	total := 0
	for key, value := range metadata {
		if n := len(key); n == 0 || n > maxKey {
			errs = append(errs, fmt.Errorf("the metadata has a key of %d bytes, must have from 1 to %d", n, maxKey))
		}
		total += len(key) + len(value)
	}
	if total > MaxMetadata {
		errs = append(errs, fmt.Errorf("the metadata has %d bytes, may have %d", total, MaxMetadata))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("service: bad header: %w", errors.Join(errs...))
}

// appendHeader appends a header to b. checkHeader has found nothing wrong with it.
func appendHeader(b []byte, name string, metadata map[string]string) []byte {
	begin := len(b)
	b = append(b, magic, 0, 0, byte(len(name)))
	b = append(b, name...)
	b = append(b, byte(len(metadata)))
	if len(metadata) > 0 {
		for _, key := range slices.Sorted(maps.Keys(metadata)) {
			value := metadata[key]
			b = append(b, byte(len(key)))
			b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
			b = append(b, key...)
			b = append(b, value...)
		}
	}
	binary.LittleEndian.PutUint16(b[begin+1:], uint16(len(b)-begin-prefixSize))
	return b
}

// parsePrefix returns the length of the body.
func parsePrefix(p [prefixSize]byte) (int, error) {
	if p[0] != magic {
		return 0, malformed("it begins with %#02x, want %#02x", p[0], magic)
	}
	n := int(binary.LittleEndian.Uint16(p[1:]))
	if n < minBody || n > maxBody {
		return 0, malformed("its body has %d bytes, must have from %d to %d", n, minBody, maxBody)
	}
	return n, nil
}

// parseBody returns the name and the metadata, which is nil if there are no entries. They do not refer to b.
func parseBody(b []byte) (name string, metadata map[string]string, err error) {
	d := decoder{b}
	n := d.uint8()
	name = d.string(n)
	entries := d.uint8()
	switch {
	case d.rest == nil:
		return "", nil, malformed("its body ends within the name")
	case n == 0:
		return "", nil, malformed("the name is empty")
	case entries > MaxEntries:
		return "", nil, malformed("it has %d entries, may have %d", entries, MaxEntries)
	case entries > len(d.rest)/(entrySize+1):
		return "", nil, malformed("its body ends within the metadata")
	}
	total, last := 0, ""
	for range entries {
		k := d.uint8()
		v := d.uint16()
		key := d.string(k)
		value := d.string(v)
		total += k + v
		switch {
		case d.rest == nil:
			return "", nil, malformed("its body ends within the metadata")
		case key <= last: // "" is less than any key
			return "", nil, malformed("key %q is not greater than %q", key, last)
		case total > MaxMetadata:
			return "", nil, malformed("the metadata has more than %d bytes", MaxMetadata)
		}
		if metadata == nil {
			metadata = make(map[string]string, entries)
		}
		metadata[key], last = value, key
	}
	if len(d.rest) > 0 {
		return "", nil, malformed("%d bytes follow the metadata", len(d.rest))
	}
	return name, metadata, nil
}

// A decoder takes values from the front of rest. If there is not enough left, rest becomes nil for good, and the values
// are 0 and "".
type decoder struct{ rest []byte }

func (d *decoder) take(n int) []byte {
	if d.rest == nil || n > len(d.rest) {
		d.rest = nil
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) uint8() int {
	if b := d.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (d *decoder) uint16() int {
	if b := d.take(2); b != nil {
		return int(binary.LittleEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) string(n int) string { return string(d.take(n)) }
