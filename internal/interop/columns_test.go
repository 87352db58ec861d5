package interop

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The table of results: what works with which peer, and what the tests have shown where it does not. docs/protocol.md has
// the table, too: TestTableOfResultsIsInTheDocs compares them, and writes it with -update.
//
// A new test is named in a column. If it shows that a peer does something else than the column's text says, it calls
// shows with an expectation, and the column lists that expectation.

// A column is a case.
type column struct {
	name string
	text string // what works where the table says so
	// tests run with the original and its fork, crateTests with the crates. Where there are none, nothing is known.
	tests, crateTests []string
	expect            []*expectation
}

// An expectation is what some peers do instead of what the column says.
type expectation struct {
	text string
	of   func(c cell) bool // the peers, versions and roles that do it
}

var (
	emptyAnswer = &expectation{
		"The peer's Write fails once we have half-closed: its answer is empty, and looks complete. Set NoHalfClose.",
		func(c cell) bool { return c.peer.afterFIN == writesNothing && c.peer.crate == "" },
	}
	cutAnswer = &expectation{
		"The peer's Write fails when it has to wait for the window, once we have half-closed: its answer ends after 262,144 bytes, and looks complete. Set NoHalfClose.",
		func(c cell) bool { return c.peer.afterFIN == writesFirstWindow && c.version == 2 },
	}
	noCloseWrite = &expectation{
		"The peer has no half-close.",
		func(c cell) bool { return !c.peer.closeWrite && c.peer.crate == "" },
	}
	noAnswerNoFIN = &expectation{
		"Once we have half-closed, the peer sends nothing more, and no FIN: our Read waits until its deadline. Set NoHalfClose.",
		func(c cell) bool { return c.peer.silentAfterFIN },
	}
	shutsBothDown = &expectation{
		"The peer's shutdown ends both directions: it may throw our answer away. With NoHalfClose, our Write fails.",
		func(c cell) bool { return c.peer.silentAfterFIN },
	}
	unreadLost = &expectation{
		"The peer throws away what it has not read when both sides have sent FIN. Close when it has read the answer.",
		func(c cell) bool { return !c.peer.keepsUnread },
	}
	writesForEver = &expectation{
		"With NoHalfClose. Without it, nothing tells that nobody reads: Write goes on until the application or the session ends it.",
		func(c cell) bool { return c.version == 1 && !c.peer.answersUnknown },
	}
	writesUntilLinger = &expectation{
		"At once with NoHalfClose. Without it, LingerTimeout after the window is used up.",
		func(c cell) bool { return c.version == 2 },
	}
	slowReaderLoses = &expectation{
		"If the peer reads nothing for LingerTimeout, what is beyond its window is lost, and our Write fails. Set a longer LingerTimeout.",
		func(c cell) bool { return c.version == 2 && c.peer.closeWrite },
	}
	garbageIsClosed = &expectation{
		"The peer closes a stream that its application has accepted and uses by io.Copy alone, once the garbage collector finds it. With NoHalfClose, our Write fails.",
		func(c cell) bool { return c.peer.finalizes },
	}
	firstBytesLost = &expectation{
		"What we send before the peer's OpenStream has returned is lost. Let the side that opens a stream write first.",
		func(c cell) bool { return c.peer.registersLate },
	}
	backlogLocks = &expectation{
		"If the goroutine of the peer that accepts also closes a stream while the backlog is full, the peer locks up until its keep-alive ends the session. Leave fewer streams open.",
		func(c cell) bool { return c.peer.locksBacklog },
	}
	crateBacklog = &expectation{
		"The peer reads nothing more when 16 streams (smux) wait to be accepted, or more than 1,024 frames (async_smux) to be read. Then all streams wait; WriteTimeout ends the session.",
		func(c cell) bool { return c.peer.crate != "" },
	}
	silentClient = &expectation{
		"With Version 0, our server's OpenStream waits for the first frame of a client that sends no NOP. Set Version.",
		func(c cell) bool { return !c.ourClient && c.peer.crate == "" },
	}
	silentServer = &expectation{
		"Our client waits for ever for a server of another version that sends no NOP, over TCP on Linux. Set Strict of keepalive.Periodic.",
		func(c cell) bool { return c.ourClient && c.peer.crate == "" },
	}
	theirWriteGoesOn = &expectation{
		"The peer's Write goes on. We drop the data.",
		func(c cell) bool { return c.peer.afterFIN != writesNothing && c.version == 1 },
	}
	theirWriteWaits = &expectation{
		"The peer's Write waits when the window is used up, until its deadline or the end of the session.",
		func(c cell) bool { return c.peer.afterFIN == writesOn && c.version == 2 },
	}
	smallFrames = &expectation{
		"The peer ends its session at a frame with more than 32,760 bytes of data: leave MaxFrameSize at its default, or set less.",
		func(c cell) bool { return c.peer.crate != "" && c.peer.largestFrame < 65_535 },
	}
	emptyFrameEnds = &expectation{
		"The peer's Read takes a frame without data for the end. We send none but in a refusal.",
		func(c cell) bool { return c.peer.emptyEnds },
	}
	versionOneAlone = &expectation{
		"The peer speaks version 1 alone. Our client's error says so: set Version.",
		func(c cell) bool { return c.peer.crate != "" && c.ourClient },
	}
)

var columns = []*column{
	{
		name:       "transfers",
		text:       "Every byte arrives, both ways at once, on 1 stream and on 64 streams of each side.",
		tests:      []string{"TestEveryByteArrivesBothWaysAtOnce"},
		crateTests: []string{"TestCrateEveryByteArrives", "TestCrateFramesOfEverySize", "TestCrateFrameLimits"},
		expect:     []*expectation{smallFrames, emptyFrameEnds},
	},
	{
		name:       "short streams",
		text:       "Thousands of streams in a row are opened and closed by either side, and each gets its answer.",
		tests:      []string{"TestTenThousandStreamsInARow"},
		crateTests: []string{"TestCrateShortStreams"},
	},
	{
		name:       "bursts",
		text:       "Thousands of streams are opened as fast as possible by either side and are open at the same time.",
		tests:      []string{"TestBurstOfOpensLosesNoStream"},
		crateTests: []string{"TestCrateBurstOfOpensLosesNoStream"},
	},
	{
		name:       "our half-close",
		text:       "After our CloseWrite, the peer's whole answer arrives.",
		tests:      []string{"TestPeersAreAsTheTableSays", "TestOurHalfCloseLetsTheirAnswerArrive", "TestWriteAfterHalfCloseFails", "TestUnreadDataSurvivesBothEndsClosing"},
		crateTests: []string{"TestCrateHalfClose"},
		expect:     []*expectation{emptyAnswer, cutAnswer, noAnswerNoFIN},
	},
	{
		name:       "their half-close",
		text:       "After the peer's half-close, our whole answer arrives.",
		tests:      []string{"TestPeersAreAsTheTableSays", "TestTheirHalfCloseLetsOurAnswerArrive", "TestSlowReaderAfterTheirHalfCloseLosesData"},
		crateTests: []string{"TestCrateHalfClose"},
		expect:     []*expectation{noCloseWrite, shutsBothDown, slowReaderLoses},
	},
	{
		name:   "both FINs",
		text:   "What the peer has not read when both sides have sent FIN can still be read.",
		tests:  []string{"TestPeersAreAsTheTableSays"},
		expect: []*expectation{unreadLost},
	},
	{
		name:       "Write, Close",
		text:       "What either side writes right before Close arrives.",
		tests:      []string{"TestDataSentRightBeforeCloseArrives"},
		crateTests: []string{"TestCrateDataBeforeCloseArrives"},
	},
	{
		name:       "Close, unread data",
		text:       "Either side closes streams with unread data again and again. No space is lost, and the session goes on.",
		tests:      []string{"TestOurCloseWithUnreadDataGivesItsSpaceBack", "TestTheirCloseWithUnreadDataLeavesTheSessionUsable"},
		crateTests: []string{"TestCrateCloseWithUnreadData", "TestOurCloseDuringADownloadFromACrate", "TestCrateAbandonedStreamsLeaveNothing"},
	},
	{
		name:       "our aborted download",
		text:       "Our endless Write ends when the peer closes the stream, and the session goes on.",
		tests:      []string{"TestOurEndlessWriteEndsWhenTheirReaderCloses", "TestWriteToAClosedStreamHarmsNobodyElse", "TestOurWriteFailsWhenTheirSideHasClosed"},
		crateTests: []string{"TestCrateReaderThatClosesEndsOurWrite"},
		expect:     []*expectation{writesForEver, writesUntilLinger},
	},
	{
		name:       "their aborted download",
		text:       "The peer's endless Write ends when we close the stream, and the session goes on.",
		tests:      []string{"TestTheirWriteAfterOurClose", "TestWriteToAClosedStreamHarmsNobodyElse"},
		crateTests: []string{"TestOurCloseDuringADownloadFromACrate"},
		expect:     []*expectation{theirWriteGoesOn, theirWriteWaits},
	},
	{
		name:  "many writers",
		text:  "Several goroutines of the peer write to one stream. What it has taken arrives.",
		tests: []string{"TestManyWritersOfTheirsOnOneStream"},
	},
	{
		name:       "NoHalfClose",
		text:       "With NoHalfClose, the peer's whole answer arrives, and our Close ends its reading.",
		tests:      []string{"TestNoHalfCloseRequestGetsItsAnswer"},
		crateTests: []string{"TestCrateAnswerArrivesWithNoHalfClose"},
	},
	{
		name:  "deadlines",
		text:  "A deadline ends a Read or Write of either side, and neither loses nor repeats a byte.",
		tests: []string{"TestReadDeadlineEndsTheReadAlone", "TestOurWriteDeadlineLosesAndRepeatsNothing", "TestTheirWriteDeadlineEndsTheWriteAlone"},
	},
	{
		name:       "keep-alive",
		text:       "Each side's NOPs keep an idle session. Each side gives up a silent one, ours if its policy is strict, or if the transport does not tell what the other end has acknowledged. Over TCP on Linux, it keeps one by default.",
		tests:      []string{"TestKeepAliveHoldsAnIdleSession", "TestSilentPeerIsGivenUp", "TestSilentPeerStaysOverTCP"},
		crateTests: []string{"TestCrateStaysWhileIdleAndIsGivenUpWhenKilled", "TestCrateThatIsStopped", "TestStrictPolicyGivesUpASilentCrate"},
	},
	{
		name: "versions",
		text: "A server of ours with Version 0 takes the client's. If versions differ, our server closes the connection, and our client's error names both versions or asks for the peer's.",
		tests: []string{
			"TestVersion0ServerServesClientsOfBothVersions", "TestVersion0ServerWaitsForTheVersion",
			"TestClientOfAnotherVersionIsClosed", "TestOurClientSaysThatTheServerHasAnotherVersion",
			"TestServerCannotOpenTowardASilentClient", "TestSilentServerOfAnotherVersionKeepsUsWaiting",
		},
		crateTests: []string{"TestDefaultsAgainstDefaultsOfACrate"},
		expect:     []*expectation{silentClient, silentServer, versionOneAlone},
	},
	{
		name:   "first bytes",
		text:   "What our side writes on a stream that the peer opens arrives, although the peer has written nothing.",
		tests:  []string{"TestFirstBytesForTheirOpenerMayBeLost"},
		expect: []*expectation{firstBytesLost},
	},
	{
		name:       "full backlog",
		text:       "While 1,024 streams wait for the peer's application to accept them, the peer reads nothing, and all streams wait. Then everything arrives.",
		tests:      []string{"TestTheirFullBacklogStopsAllStreams", "TestTheirFullBacklogCanLockThemUp"},
		crateTests: []string{"TestCrateThatAcceptsNothingStopsAllStreams"},
		expect:     []*expectation{backlogLocks, crateBacklog},
	},
	{
		name:   "garbage",
		text:   "A stream that the peer's application has accepted, and uses by io.Copy alone, stays open until io.Copy ends.",
		tests:  []string{"TestTheirGarbageCollectionClosesStreams"},
		expect: []*expectation{garbageIsClosed},
	},
	{
		name:  "fleet",
		text:  "A fleet leaves the peer, and goes to version 2, one side at a time.",
		tests: []string{"TestFleetChangesOneSideAtATime"},
	},
	{
		name:       "signals",
		text:       "Our signals change nothing for the peer.",
		tests:      []string{"TestOurSignalsChangeNothingForThem", "TestNoFrameOfASignalChangesAnythingForThem"},
		crateTests: []string{"TestCrateSignalsAndRefusalsChangeNothing", "TestCrateNoFrameOfASignalChangesAnything"},
	},
	{
		name:       "refusals",
		text:       "A stream that we refuse ends without data for the peer. One that the peer closes without a word is an empty answer for us, and no refusal.",
		tests:      []string{"TestOurRefusalIsAnEmptyAnswerForThem", "TestTheirCloseWithoutAWordIsNoRefusal"},
		crateTests: []string{"TestCrateSignalsAndRefusalsChangeNothing"},
	},
	{
		name: "end of a session",
		text: "Whichever side ends its session, or is killed, the calls of the other side return at once.",
		tests: []string{
			"TestTheirSessionEndReachesAllOurCalls", "TestOurSessionEndReachesTheirCalls", "TestSessionEndReachesTheOtherImplementation",
			"TestOurShutdownLetsTheirStreamsEnd", "TestKilledProcessEndsTheOtherSide", "TestFlushToThemReturns",
		},
		crateTests: []string{"TestCrateKilledEndsOurCalls", "TestOurSessionEndEndsACrate"},
	},
	{
		name:       "soak",
		text:       "Random streams of random sizes, which end in every way, also with their session. Every byte is checked.",
		tests:      []string{"TestSoak"},
		crateTests: []string{"TestSoak"},
	},
	{
		name:  "services",
		text:  "Services of package service work in both directions.",
		tests: []string{"TestServicesWorkTowardTheOriginal"},
	},
}

// crates are the Rust crates as peers, where they can be tested.
var crates []*peer

// tablePeers are those of the table, in the order of its rows.
func tablePeers() []*peer { return slices.Concat(peers, crates) }

// columnsOf returns the columns that a test belongs to.
func columnsOf(test string) (some []*column) {
	for _, c := range columns {
		if slices.Contains(c.tests, test) || slices.Contains(c.crateTests, test) {
			some = append(some, c)
		}
	}
	return some
}

// expected returns what the table expects in a cell of the column, and whether there are tests for it.
func (c *column) expected(of cell) (some []*expectation, tested bool) {
	if len(c.tests) == 0 && of.peer.crate == "" || len(c.crateTests) == 0 && of.peer.crate != "" {
		return nil, false
	}
	for _, e := range c.expect {
		if e.of(of) {
			some = append(some, e)
		}
	}
	return some, true
}

// letters numbers the expectations that the table shows, in its order, with letters.
func letters() map[*expectation]string {
	marks := make(map[*expectation]string)
	for _, c := range allCells() {
		want, _ := c.column.expected(c)
		for _, e := range want {
			if n := len(marks); marks[e] == "" {
				marks[e] = strings.Repeat("a", n/26) + string(rune('a'+n%26))
			}
		}
	}
	return marks
}

// inOrder returns the expectations in the order of their letters.
func inOrder(marks map[*expectation]string) []*expectation {
	return slices.SortedFunc(maps.Keys(marks), func(x, y *expectation) int {
		return cmp.Or(cmp.Compare(len(marks[x]), len(marks[y])), cmp.Compare(marks[x], marks[y]))
	})
}

// marksOf is how both tables show what was found or is expected.
func marksOf(some []*expectation, marks map[*expectation]string) string {
	if len(some) == 0 {
		return "✓"
	}
	var text []string
	for _, e := range some {
		text = append(text, marks[e])
	}
	slices.Sort(text)
	return strings.Join(text, " ")
}

// title is the peer's name in the tables.
func (p *peer) title() string {
	if p.crate != "" {
		return p.name + " " + p.crate + " (Rust)"
	}
	implementation, version, _ := strings.Cut(p.name, " ")
	return implementation + "/smux " + version
}

// docsTable is the table in docs/protocol.md. A row is a peer and a version. A cell has both roles: the text of an expectation
// says which it is about, if it is about one.
func docsTable() string {
	var b strings.Builder
	marks := letters()
	b.WriteString("| peer | version |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n|" + strings.Repeat("---|", 2+len(columns)) + "\n")
	for _, p := range tablePeers() {
		for version := 1; version <= p.lastVersion(); version++ {
			fmt.Fprintf(&b, "| %s | %d |", p.title(), version)
			for _, c := range columns {
				fmt.Fprintf(&b, " %s |", docsCell(c, p, version, marks))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n")
	for _, e := range inOrder(marks) {
		fmt.Fprintf(&b, "- **%s**: %s\n", marks[e], e.text)
	}
	b.WriteString("\nWhere the table has ✓:\n\n")
	for _, c := range columns {
		var tests []string
		for _, test := range slices.Compact(slices.Concat(c.tests, c.crateTests)) {
			tests = append(tests, "`"+test+"`")
		}
		fmt.Fprintf(&b, "- **%s**: %s (%s)\n", c.name, strings.TrimSuffix(c.text, "."), strings.Join(tests, ", "))
	}
	return b.String()
}

func docsCell(c *column, p *peer, version int, marks map[*expectation]string) string {
	var either []*expectation
	for _, ourClient := range []bool{true, false} {
		want, tested := c.expected(cell{c, p, version, ourClient})
		if !tested {
			return "–"
		}
		for _, e := range want {
			if !slices.Contains(either, e) {
				either = append(either, e)
			}
		}
	}
	return marksOf(either, marks)
}
