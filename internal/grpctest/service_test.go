package grpctest

import (
	"context"
	"io"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A service has a method of each kind that takes or returns a stream, and one that does neither. Its description
// is written by hand, so that no generated code is needed.
type service struct {
	// begun gets a value from each call of Wait and Count when it begins. The calls go on when release is closed.
	begun   chan struct{}
	release chan struct{}
}

func newService() *service {
	return &service{begun: make(chan struct{}), release: make(chan struct{})}
}

// hold reports that a call has begun, and waits for release.
func (s *service) hold(ctx context.Context) error {
	select {
	case s.begun <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// countTo is the number of values that Count returns.
const countTo = 20

var serviceDesc = grpc.ServiceDesc{
	ServiceName: "grpctest",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Echo", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			return in, decode(in)
		}},
		{MethodName: "Wait", Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := decode(in); err != nil {
				return nil, err
			}
			return in, srv.(*service).hold(ctx)
		}},
	},
	Streams: []grpc.StreamDesc{
		// Count returns the first half of its values, then waits for release.
		{StreamName: "Count", ServerStreams: true, Handler: func(srv any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil {
				return err
			}
			for n := range countTo {
				if n == countTo/2 {
					if err := srv.(*service).hold(stream.Context()); err != nil {
						return err
					}
				}
				if err := stream.SendMsg(wrapperspb.String(strconv.Itoa(n))); err != nil {
					return err
				}
			}
			return nil
		}},
		{StreamName: "Chat", ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				in := new(wrapperspb.StringValue)
				if err := stream.RecvMsg(in); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := stream.SendMsg(in); err != nil {
					return err
				}
			}
		}},
	},
}

// call calls Echo or Wait.
func call(ctx context.Context, c *grpc.ClientConn, method, text string, opts ...grpc.CallOption) (string, error) {
	out := new(wrapperspb.StringValue)
	err := c.Invoke(ctx, "/grpctest/"+method, wrapperspb.String(text), out, opts...)
	return out.GetValue(), err
}

// count calls Count, and returns the number of values that came in order.
func count(ctx context.Context, c *grpc.ClientConn) (int, error) {
	stream, err := c.NewStream(ctx, &serviceDesc.Streams[0], "/grpctest/Count")
	if err != nil {
		return 0, err
	}
	if err := stream.SendMsg(wrapperspb.String("")); err != nil {
		return 0, err
	}
	if err := stream.CloseSend(); err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		out := new(wrapperspb.StringValue)
		if err := stream.RecvMsg(out); err == io.EOF {
			return n, nil
		} else if err != nil || out.GetValue() != strconv.Itoa(n) {
			return n, err
		}
	}
}
