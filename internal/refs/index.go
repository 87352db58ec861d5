package refs

import (
	"path"
	"strings"
)

const (
	index        = "docs/README.md"
	guides       = "Guides" // the heading of the index above the guides
	maxGuideSize = 100      // lines: two screens
)

// checkIndex reports each page in docs that the index has no link to, and each guide that is too long. Without an index it
// reports nothing.
func (r *repository) checkIndex() {
	if !r.exists(index) {
		return
	}
	linked := r.indexLinks()
	for _, d := range r.docs {
		guide, ok := linked[d.name]
		switch {
		case d.name == index || path.Dir(d.name) != path.Dir(index):
		case !ok:
			r.report(index, len(r.doc(index).lines), "no link to %s", d.name)
		case guide && len(d.lines) > maxGuideSize:
			r.report(d.name, maxGuideSize+1, "a guide has at most %d lines", maxGuideSize)
		}
	}
}

// indexLinks returns the files that the index links to. The value says whether the file is a guide.
func (r *repository) indexLinks() map[string]bool {
	linked := make(map[string]bool)
	inGuides := false
	for _, line := range r.doc(index).lines {
		if m := heading.FindStringSubmatch(line); m != nil {
			inGuides = m[1] == guides
		}
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			file, _, _ := strings.Cut(m[1], "#")
			file = path.Join(path.Dir(index), file)
			linked[file] = linked[file] || inGuides
		}
	}
	return linked
}
