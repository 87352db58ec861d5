// Package grpctest tests that gRPC runs over the streams of a session: google.golang.org/grpc, client and
// server, with Session.Listener. It is a module of its own, so that users of smuxkit do not download gRPC.
package grpctest
