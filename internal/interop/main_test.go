package interop

import (
	"flag"
	"os"
	"testing"
)

var soakFor = flag.Duration("soak", 0, "how long TestSoak lasts at least; 0 means two rounds")

var allFrames = flag.Bool("allframes", false, "frames of every size toward the Rust crates, and not of some")

// parallel is the number of subtests that run at once, unless -parallel sets it. Most of them wait for a deadline
// or a keep-alive, not for a processor.
const parallel = "24"

func TestMain(m *testing.M) {
	runChild()
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", parallel); err != nil {
			panic(err)
		}
	}
	os.Exit(endResults(m.Run()))
}
