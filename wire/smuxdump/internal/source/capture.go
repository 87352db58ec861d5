package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

// ErrNotCapture is returned by [Capture] for input that is no capture file.
var ErrNotCapture = errors.New("neither a pcap nor a pcapng file; -raw shows the bytes of one direction")

// A CutError says that a capture ends before it is complete. What came before was handled.
type CutError struct {
	Packets int64 // that were read
	Err     error
}

func (e *CutError) Error() string {
	if errors.Is(e.Err, io.ErrUnexpectedEOF) {
		return fmt.Sprintf("the file is cut: it ends within packet %d", e.Packets+1)
	}
	return fmt.Sprintf("the file is damaged behind packet %d: %v", e.Packets, e.Err)
}

func (e *CutError) Unwrap() error { return e.Err }

// A Filter selects connections.
type Filter struct {
	Port int // of either side; 0 selects all
}

// A Result says what a capture had besides connections that were handled.
type Result struct {
	Packets   int64
	Truncated int64 // packets of which only a part was captured
	Fragments int64 // fragments of IP packets: they are not put together
	GivenUp   int64 // connections that were not followed to their end, because too many were open
	TCP       int64 // TCP segments
}

// Capture reads a capture, pcap or pcapng, compressed by gzip or not, and feeds the TCP connections in it to set. If ctx
// ends, it returns its error. A [*CutError] says that the file ends too soon.
func Capture(ctx context.Context, r io.Reader, set *conversation.Set, f Filter) (res Result, err error) {
	next, err := openCapture(r)
	if err != nil {
		return res, err
	}
	tcp := newAssembler(set, f)
	defer func() {
		tcp.close()
		res.GivenUp = tcp.givenUp
	}()
	for {
		data, ci, link, err := next()
		if err == io.EOF {
			return res, nil
		}
		if err != nil {
			return res, &CutError{res.Packets, err}
		}
		if res.Packets++; res.Packets%1024 == 0 && ctx.Err() != nil {
			return res, ctx.Err()
		}
		if err := handlePacket(tcp, &res, data, ci, link); err != nil {
			return res, err
		}
	}
}

// handlePacket hands the TCP segment of a packet to the assembler.
func handlePacket(tcp *assembler, res *Result, data []byte, ci gopacket.CaptureInfo, link layers.LinkType) error {
	first, err := decoderOf(link)
	if err != nil {
		return err
	}
	if ci.CaptureLength < ci.Length {
		res.Truncated++
	}
	p := gopacket.NewPacket(data, first, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	segment, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok {
		if p.Layer(gopacket.LayerTypeFragment) != nil {
			res.Fragments++
		}
		return nil
	}
	network := p.NetworkLayer()
	if network == nil {
		return nil
	}
	res.TCP++
	tcp.handle(network.NetworkFlow(), segment, ci)
	return nil
}

// decoderOf returns the decoder of the first layer of a link type.
func decoderOf(link layers.LinkType) (gopacket.Decoder, error) {
	switch link {
	case layers.LinkTypeIPv4:
		return layers.LayerTypeIPv4, nil
	case layers.LinkTypeIPv6:
		return layers.LayerTypeIPv6, nil
	case layers.LinkTypeNull, layers.LinkTypeEthernet, layers.LinkTypePPP, layers.LinkTypeRaw, layers.LinkTypeLoop,
		layers.LinkTypeLinuxSLL, layers.LinkTypeLinuxSLL2, layers.LinkTypeIEEE802_11, layers.LinkTypeIEEE80211Radio, 12, 14:
		return link, nil
	default:
		return nil, fmt.Errorf("packets of link type %d (%v) are not supported", link, link)
	}
}

// A nextPacket returns the next packet. Its data is valid until the next call.
type nextPacket func() ([]byte, gopacket.CaptureInfo, layers.LinkType, error)

// openCapture finds out of which format r is.
func openCapture(r io.Reader) (nextPacket, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		in = bufio.NewReaderSize(unzipped, 1<<16)
	}
	magic, err := in.Peek(4)
	if err != nil {
		if err == io.EOF && len(magic) == 0 {
			return nil, errors.New("the file is empty")
		}
		return nil, ErrNotCapture
	}
	switch string(magic) {
	case "\x0a\x0d\x0d\x0a":
		return openPcapng(in)
	case "\xd4\xc3\xb2\xa1", "\xa1\xb2\xc3\xd4", "\x4d\x3c\xb2\xa1", "\xa1\xb2\x3c\x4d":
		return openPcap(in)
	}
	return nil, ErrNotCapture
}

func openPcap(in io.Reader) (nextPacket, error) {
	r, err := pcapgo.NewReader(in)
	if err != nil {
		return nil, headerError(err)
	}
	link := r.LinkType()
	return func() ([]byte, gopacket.CaptureInfo, layers.LinkType, error) {
		data, ci, err := r.ZeroCopyReadPacketData()
		if err == io.EOF && ci.CaptureLength > 0 {
			err = io.ErrUnexpectedEOF // behind the header of a packet
		}
		return data, ci, link, err
	}, nil
}

func openPcapng(in io.Reader) (nextPacket, error) {
	r, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return nil, headerError(err)
	}
	return func() ([]byte, gopacket.CaptureInfo, layers.LinkType, error) {
		data, ci, err := r.ZeroCopyReadPacketData()
		if err != nil {
			return nil, ci, 0, err
		}
		link := layers.LinkTypeEthernet
		if i, err := r.Interface(ci.InterfaceIndex); err == nil {
			link = i.LinkType
		}
		return data, ci, link, nil
	}, nil
}

// headerError says that the file has no whole header.
func headerError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return &CutError{Err: io.ErrUnexpectedEOF}
	}
	return fmt.Errorf("the header of the file: %w", err)
}

// flushAfter is how long bytes wait for others that are missing before them, in the time of the capture. TCP sends lost
// bytes again sooner; if they do not come, the capture has lost them.
const flushAfter = 10 * time.Second
