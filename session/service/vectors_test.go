package service

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vectors returns the cells of the table below heading in docs/service.md.
func vectors(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/service.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "\n"+heading+":\n\n")
	if !ok {
		t.Fatalf("docs/service.md has no %q", heading)
	}
	table, _, _ := strings.Cut(rest, "\n\n")
	for _, line := range strings.Split(strings.TrimSpace(table), "\n")[2:] {
		var cells []string
		for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`"))
		}
		rows = append(rows, cells)
	}
	if len(rows) < 4 {
		t.Fatalf("%q has %d rows", heading, len(rows))
	}
	return rows
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// parse parses a whole header.
func parse(b []byte) (name string, metadata map[string]string, err error) {
	s := new(Stream)
	r := bytes.NewReader(b)
	err = s.parseHeader(r)
	if err == nil && r.Len() > 0 {
		err = errors.New("bytes are left")
	}
	return s.name, s.metadata, err
}

// The headers of docs/service.md are those of this package, in both directions.
func TestHeaderVectors(t *testing.T) {
	unquote := func(s string) string {
		u, err := strconv.Unquote(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return u
	}
	for _, row := range vectors(t, "Headers") {
		name, want := unquote(row[0]), unhex(t, row[2])
		var metadata map[string]string
		for _, e := range regexp.MustCompile(`("[^"]*")=("[^"]*")`).FindAllStringSubmatch(row[1], -1) {
			if metadata == nil {
				metadata = map[string]string{}
			}
			metadata[unquote(e[1])] = unquote(e[2])
		}
		if got := appendHeader(nil, name, metadata); !bytes.Equal(got, want) {
			t.Errorf("%v: encoded as\n% x, want\n% x", row, got, want)
		}
		gotName, gotMetadata, err := parse(want)
		if gotName != name || !cmp.Equal(gotMetadata, metadata) || err != nil {
			t.Errorf("%v: decoded as %q %q, %v", row, gotName, gotMetadata, err)
		}
	}
	for _, row := range vectors(t, "Malformed headers") {
		if name, metadata, err := parse(unhex(t, row[0])); !errors.Is(err, errHeader) {
			t.Errorf("%v: decoded as %q %q, %v, want that it is malformed", row, name, metadata, err)
		}
	}
}

// The answers of docs/service.md are those of this package, in both directions.
func TestAnswerVectors(t *testing.T) {
	for _, row := range vectors(t, "Answers") {
		b := unhex(t, row[1])
		p := answerParser{got: b}
		if n := p.missing(); n != 0 {
			t.Errorf("%v: %d bytes are missing", row, n)
			continue
		}
		err := p.result("x")
		var refused *RefusedError
		switch {
		case row[0] == "accepted":
			if err != nil || !bytes.Equal(b, accepted) {
				t.Errorf("%v: %v", row, err)
			}
		case strings.HasPrefix(row[0], "malformed"):
			if !errors.Is(err, ErrAnswer) {
				t.Errorf("%v: %v, want ErrAnswer", row, err)
			}
		case !errors.As(err, &refused):
			t.Errorf("%v: %v, want a refusal", row, err)
		default:
			m := regexp.MustCompile(`^refused, code (\d+), (?:no text|"(.*)")$`).FindStringSubmatch(row[0])
			code, _ := strconv.Atoi(m[1])
			want := &RefusedError{Service: "x", Code: Code(code), Text: m[2]}
			if diff := cmp.Diff(want, refused); diff != "" {
				t.Errorf("%v (-want +got)\n%s", row, diff)
			}
			if got := encodeRefusal(want.Code, want.Text); !bytes.Equal(got, b) {
				t.Errorf("%v: encoded as % x", row, got)
			}
		}
	}
}
