package fuzz

// Seeds of FuzzStreams: the usual life of streams, and findings.
var playSeeds = []string{
	"session client 1 0 0 0 0",

	// A request and its answer, opened by either side.
	`session server 2 0 0 0 0
	syn; psh 0 100; fin 0; accept; read 0 1000; read 0 1; write 0 1000; close 0; sleep 1s`,
	`session client 1 3 0 0 100
	open; write 0 500; closewrite 0; sleep 100ms; psh 0 1000; fin 0; writeto 0; close 0; sleep 1s`,

	// Reads that wait, in both forms, and are served piece by piece.
	`session client 2 8 0 0 0
	syn; accept; read 0 1000; psh 0 0; psh 0 1; read 0 9; psh 0 8192; psh 0 9000; read 0 150000
	writeto 0; psh 0 20000; psh 0 1; fin 0; sleep 1s`,
	`session server 1 0 0 0 0
	syn; accept; read 0 40000; psh 0 65535; read 0 40000; closeread 0; psh 0 65535; read 0 1; fin 0`,

	// Windows that are used up, lowered and opened again.
	`session client 2 0 0 0 0
	open; upd 0 none 5000; write 0 20000; sleep 100ms; upd 0 all 1000; sleep 100ms; upd 0 all 0
	upd 0 all 65536; write 0 150000; writedeadline 0 1s; sleep 1s; upd 0 all 1048576; closewrite 0; sleep 1s`,
	`session server 2 0 0 0 1000
	open; upd 0 none 100; readfrom 0 40000; sleep 1s; closewrite 0; sleep 10s; upd 0 all 1048576; sleep 1s`,
	`session server 2 0 0 0 0
	open; write 0 150000; write 0 150000; close 0; sleep 100ms; sleep 10s; upd 0 all 1048576; sleep 1s`,

	// A peer that closes both directions, or one after the other.
	`session client 2 0 0 0 0
	open; upd 0 none 0; write 0 40000; fin 0; fin 0; sleep 1s; write 0 1; read 0 1; close 0; sleep 1s`,
	`session client 1 0 0 0 0
	syn; accept; fin 0; write 0 1000; fin 0; write 0 1000; closewrite 0; close 0; sleep 1s`,

	// A peer without half-close: its FIN ends a Write, and this side cannot half-close.
	`session client-nohalfclose 2 0 0 0 0
	open; upd 0 none 0; write 0 40000; closewrite 0; psh 0 100; fin 0; sleep 1s; write 0 1; read 0 1000; close 0; sleep 1s`,
	`session server-nohalfclose 1 0 0 0 0
	syn; accept; stall; write 0 150000; fin 0; closewrite 0; sleep 1s; unstall; write 0 1; close 0; sleep 1s`,

	// A peer that refuses streams, and one that almost does.
	`session client 2 0 0 0 0
	open; write 0 100; psh 0 0; psh 0 0; read 0 1; fin 0; sleep 1s; fin 0; read 0 1; write 0 1; closewrite 0; sleep 1s
	open; psh 1 0; psh 1 0; fin 1; read 1 1; sleep 10s; fin 1; read 1 1; open; closewrite 2; psh 2 0; psh 2 0; fin 2
	upd 2 all 1000; fin 2; read 2 1; open; close 3; psh 3 0; psh 3 0; fin 3; fin 3; sleep 1s; shut`,
	"session server 1 0 0 0 0; open; psh 0 0; psh 0 0; fin 0; read 0 1; end clean; sleep 10s; read 0 1",
	`session client-nohalfclose 2 0 0 0 0
	open; upd 0 none 0; write 0 100; psh 0 0; psh 0 0; fin 0; sleep 1s; fin 0; write 0 1; read 0 1; sleep 1s
	open; psh 1 0; psh 1 0; fin 1; write 1 1; sleep 10s; write 1 1; read 1 1; shut`,

	// Streams that wait to be accepted when the session is closed.
	"session server 2 0 0 0 0; syn; psh 0 1000; syn; fin 1; syn; fin 2; fin 2; accept; read 0 1; shut; sleep 1s",

	// A frame that arrives in two parts, with its stream closed between them.
	`session server 2 0 0 0 0
	syn; accept; part 0 65535; closeread 0; psh 0 65535; psh 0 65535; psh 0 65535; psh 0 65535; psh 0 8; sleep 1s`,
	"session client 2 100 0 0 0; syn; accept; read 0 1000; part 0 9000; close 0; fin 0; syn; psh 1 1; sleep 1s",

	// A peer that has closed one direction and still reads, after any time.
	`session server 2 0 0 0 0
	open; fin 0; upd 0 none 0; write 0 500; close 0; sleep 10s; upd 0 none 1000; sleep 1s`,

	// Data for a closed stream.
	`session server 1 0 0 0 0
	syn; accept; psh 0 100; close 0; sleep 100ms; psh 0 100; psh 0 100; sleep 100ms; fin 0; sleep 1s`,
	`session server 2 0 0 0 0
	syn; accept; closewrite 0; sleep 100ms; psh 0 9000; close 0; psh 0 1; sleep 1s`,

	// A transport that takes nothing.
	`session client 1 0 0 0 0
	open; stall; write 0 150000; write 0 40000; writedeadline 0 100ms; sleep 1s; open; write 1 100
	closewrite 1; read 1 1; unstall; sleep 1s; psh 1 100; fin 1`,
	`session server 2 0 0 0 100
	stall; syn; accept; open; write 0 8192; write 1 9000; close 0; closewrite 1; shut; sleep 100ms; unstall`,
	`session server 1 0 0 0 0
	syn; accept; stall; write 0 40000; shut; sleep 10s`,

	// Deadlines.
	`session client 2 0 0 0 0
	syn; accept; readdeadline 0 100ms; read 0 1; sleep 100ms; psh 0 100; read 0 100; readdeadline 0 0s; read 0 100
	writeto 0; readdeadline 0 1ms; sleep 1ms; readdeadline 0 10s; read 0 1; sleep 10s`,

	// Limits of the peer's streams.
	`session server 2 0 1 0 0
	syn; syn; syn; sleep 100ms; accept; accept; syn; sleep 1s; psh 0 100; psh 1 100`,
	`session client 1 0 0 1 0
	syn; syn; accept; fin 0; read 0 1; close 0; sleep 100ms; syn; syn; sleep 1s; accept`,

	// The end of the session, by either side, with unread data.
	`session client 2 0 0 0 0
	syn; psh 0 1000; syn; psh 1 100; fin 1; accept; read 0 100; end clean
	read 0 1000; read 0 1; accept; read 1 100; read 1 1; write 0 1; accept; open; sleep 1s`,
	"session server 1 1 0 0 0; syn; accept; read 0 100; writeto 0; end payload; sleep 1s",
	"session server 1 0 0 0 0; syn; accept; read 0 100; accept; end header; sleep 1s",
	"session server 1 0 0 0 0; syn; accept; write 0 1; end error; sleep 1s",
	"session client 2 0 0 0 0; open; read 0 1; end clean; write 0 1; open; accept",
	"session client 2 0 0 0 0; syn; psh 0 100; accept; accept; write 0 100; shut; read 0 1; write 0 1; open; accept",
	"session client 1 0 0 0 0; syn; accept; fin 0; closewrite 0; shut; read 0 0; read 0 1",
	"session server 2 0 0 0 0; open; stall; open; write 0 9000; psh 0 65535; close 0; psh 0 100; unstall; sleep 10s",
	"session server 2 0 0 1 100; syn; accept; closewrite 0; close 0; fin 0; syn; sleep 1s",
	"session client 2 0 0 0 0; open; upd 0 all 0; fin 0; write 0 1; close 0; sleep 1s",
	"session client 2 0 0 0 0; bad version",
	"session client 2 0 0 0 0; bad command",
	"session client 1 0 0 0 0; bad data",
	"session server 1 8 0 0 0; bad nop",
	"session client 2 0 0 0 0; bad zero",
	"session client 2 0 0 0 0; bad parity",
	"session client 2 0 0 0 0; syn; psh 0 100; bad inuse; accept; read 0 100; read 0 1",
	"session client 1 0 0 0 0; bad update",
	"session client 2 0 0 0 0; bad update",
	"session client 2 0 0 0 0; open; write 0 500; bad consumed; write 0 1",

	// Signals, asked for or not, and CloseNow.
	`session client 2 0 0 0 0
	open; signal ping; signal drain; signal ping; sleep 100ms; open; signal drain-echo; signal unknown; ping; signal ping-echo; ping
	sleep 1s; signal ping-echo; signal ping-echo; sleep 100ms; syn; accept; signal drain; sleep 1s`,
	`session server 1 3 0 0 0
	ping; stall; open; signal drain; signal ping; signal ping; open; unstall; sleep 100ms; signal ping-echo; ping; end clean; ping; open`,
	"session server 2 0 0 0 0; syn; accept; read 0 100; accept; ping; write 0 9000; stall; write 0 150000; closenow; ping; open",
	"session client 1 0 0 0 0; open; stall; write 0 40000; shut; sleep 100ms; signal ping; closenow",
	"session client 2 0 0 0 0; open; syn; psh 0 100; end clean; closenow; read 0 100; accept",

	// Flush: of nothing, of data that cannot be sent, of a FIN, and after the end.
	`session client 2 0 0 0 0
	open; flush 0 1s; write 0 1000; stall; write 0 1000; flush 0 100ms; closewrite 0; flush 0 10s; unstall; sleep 100ms
	signal ping-echo; flush 0 10s; sleep 1s; signal ping-echo; close 0; flush 0 1s; shut; flush 0 1s; sleep 1s`,
	`session server 2 0 0 0 0
	open; open; upd 0 none 0; write 0 9000; flush 0 1s; close 0; flush 0 10s; fin 0; fin 0; flush 1 1s; shut; close 1; flush 1 1s`,
	"session client 1 0 0 0 0; open; write 0 100; flush 0 10s; ping; flush 0 10s; signal ping-echo; end clean; flush 0 1s",
}

// Seeds of FuzzPair.
var scheduleSeeds = []string{
	"sessions 1 off 1048576 0 0 0 no 0s 0 0",

	// Requests, answers and uploads, on a slow link and a narrow one.
	`sessions 1 off 1048576 0 0 0 no 0s 0 0
	open client; write 0 opener 1000; sleep 1ms; read 0 acceptor 1000; write 0 acceptor 40000; close 0 acceptor`,
	`sessions 2 nop 65536 0 0 1000 no 50ms 20000 1250000
	open client; open server; write 0 opener 40000; write 1 acceptor 150000; sleep 1s; write 1 opener 150000; sleep 40s`,
	`sessions 2 off 65536 0 0 0 no 1ms 1000 12500000
	open client; open client; open client; readfrom 0 opener 150000; readfrom 1 opener 150000; write 2 opener 100
	sleep 1s; read 2 acceptor 100; writeto 1 acceptor; sleep 1s; closewrite 1 opener; close 1 acceptor; sleep 6s`,

	// Streams that are closed in each way while they are written to.
	`sessions 2 off 1048576 0 0 0 no 1ms 0 0
	open server; write 0 opener 150000; write 0 opener 150000; sleep 1s; closeread 0 acceptor; sleep 1s; write 0 acceptor 9`,
	`sessions 2 off 1048576 0 0 0 no 1ms 0 0
	open server; write 0 opener 150000; write 0 opener 150000; sleep 1s; close 0 acceptor; sleep 1s; write 0 opener 9`,
	`sessions 1 off 65536 0 0 0 no 1ms 0 0
	open client; write 0 opener 150000; sleep 1s; cutwrite 0 opener; close 0 opener; write 0 acceptor 150000; sleep 6s`,
	"sessions 1 off 1048576 0 0 0 no 0s 0 0; open server; close 0 opener",

	// Two ends that are closed with more to send than the other's window allows.
	`sessions 2 off 1000 0 0 0 no 0s 0 0
	open client; sleep 1s; write 0 opener 1; write 0 opener 9000; write 0 opener 9000; write 0 acceptor 1
	write 0 acceptor 9000; write 0 acceptor 9000; close 0 opener; close 0 acceptor; sleep 1s`,
	`sessions 2 off 1048576 0 0 0 no 1ms 0 0
	open client; write 0 opener 150000; write 0 opener 150000; sleep 1s; closewrite 0 acceptor; sleep 1s; close 0 opener
	sleep 40s; sleep 40s`,

	// Deadlines that pass in the middle.
	`sessions 2 off 65536 0 0 0 no 1ms 1000 0
	open client; stall client; write 0 opener 150000; writedeadline 0 opener 100ms; sleep 1s; unstall client
	writedeadline 0 opener 0s; write 0 opener 1000; sleep 1s; readdeadline 0 acceptor 1ms; writeto 0 acceptor; sleep 1s`,

	// Stalls of one direction or both, with and without keep-alive.
	`sessions 1 nop 1048576 0 0 0 no 0s 1000 0
	open client; stall client; write 0 opener 40000; sleep 6s; unstall client; stall server; write 0 acceptor 9000; sleep 1s`,
	`sessions 2 off 65536 0 0 100 no 50ms 1000 0
	open client; open server; stall client; stall server; write 0 opener 9000; write 1 opener 150000; sleep 5m0s`,
	"sessions 2 nop 65536 0 0 0 no 1ms 0 0; open client; stall server; sleep 5m0s; open client; open server",

	// Streams that wait to be accepted, or are refused.
	`sessions 1 off 1048576 0 0 0 no 0s 0 0
	hold server; open client; open client; write 0 opener 1000; write 1 opener 40000; close 1 opener; sleep 1s; accept server`,
	`sessions 2 off 1048576 0 1 0 no 1ms 0 0
	open client; open client; write 0 opener 9; write 1 opener 40000; sleep 1s; write 1 opener 1; close 0 opener; open client`,

	"sessions 2 off 1048576 0 0 0 no 1ms 0 0; hold server; open client; write 0 opener 1000; refuse server; sleep 6s; sleep 6s",
	"sessions 1 off 1048576 0 0 0 no 1ms 0 0; hold server; open client; open client; closewrite 0 opener; shut server; sleep 1s",

	// Flush before and after the link is cut or stalls.
	`sessions 2 off 1048576 0 0 0 no 50ms 0 1250000
	open client; write 0 opener 40000; flush 0 opener 6s; close 0 opener; flush 0 opener 40s; sleep 100ms; cut client 0 end both`,
	`sessions 1 off 65536 0 0 0 no 1ms 1000 0
	open server; stall server; write 0 opener 9000; closewrite 0 opener; flush 0 opener 1s; sleep 6s; flush 0 opener 40s; unstall server
	sleep 1s; cut client 9 reset both`,

	// Ends of the link and of the sessions.
	"sessions 1 off 1048576 0 0 0 no 1ms 0 0; open client; cut client 100 reset both; write 0 opener 9000; write 0 acceptor 9; sleep 1s",
	"sessions 2 nop 1048576 0 0 0 no 0s 0 0; open client; cut server 9 end oneway; write 0 opener 9000; write 0 acceptor 100; sleep 40s",
	`sessions 1 off 1048576 0 0 0 no 50ms 20000 1250000
	open client; open server; write 0 opener 150000; write 1 acceptor 40000; closewrite 0 opener; sleep 1ms; shut client`,
	"sessions 2 off 1048576 0 0 0 no 0s 0 0; open client; stall client; write 0 opener 1000; shut client; sleep 6s",
	`sessions 2 off 1048576 0 0 0 no 1ms 0 12500000
	open client; write 0 opener 150000; write 0 acceptor 40000; shutdown client; open client; open server; sleep 1s`,

	// CloseNow, also while others wait, and Ping.
	`sessions 2 off 1000 0 0 0 no 1ms 1000 0
	open client; open server; write 0 opener 150000; writeto 1 opener; shutdown client; ping client 40s; sleep 1s; closenow client
	sleep 1s; ping client 1s; open server`,
	`sessions 1 nop 1048576 0 0 0 no 50ms 0 0
	ping client 40s; ping server 1s; ping client 1ms; open client; stall server; ping client 6s; shut client; closenow client`,
	"sessions 2 off 1048576 0 0 0 no 0s 0 0; stall client; open client; write 0 opener 40000; closenow server; sleep 1s; closenow client",
	"sessions 1 off 1048576 0 1 0 no 1ms 0 0; open client; open client; refuse server; ping server 1s; refuse client; sleep 6s; open server",

	// Peers without half-close.
	`sessions 2 off 65536 0 0 0 nohalfclose 1ms 0 0
	open client; open server; write 0 opener 150000; write 0 acceptor 150000; sleep 1s; closewrite 0 opener; close 0 acceptor; sleep 1s
	cutwrite 1 opener; write 1 acceptor 150000; write 1 acceptor 150000; sleep 1s; close 1 opener`,
	`sessions 1 off 1048576 1000 3 100 nohalfclose 50ms 0 1250000
	open client; open client; hold server; open client; write 0 opener 9000; closeread 0 acceptor; sleep 1s; close 1 acceptor`,
}
