package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const longest = 3600 // seconds of a stream

// streams are the answers that last: they are in no metric, for how long they take is the client's wish. Those of
// WebSockets are known to no server any more, so they are counted here.
type streams struct {
	version string
	sockets sync.WaitGroup
}

// lines answers with the number of each second as it passes, and with "end" after the last.
func (s *streams) lines(w http.ResponseWriter, r *http.Request) {
	seconds := 20
	if asked := r.URL.Query().Get("seconds"); asked != "" {
		var err error
		if seconds, err = strconv.Atoi(asked); err != nil || seconds < 1 || seconds > longest {
			http.Error(w, fmt.Sprintf("seconds must be 1 to %d", longest), http.StatusBadRequest)
			return
		}
	}
	flusher := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	for second := 1; second <= seconds; second++ {
		if err := flusher.Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
			fmt.Fprintln(w, second)
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprintln(w, "end")
}

// socket says by WebSocket whatever it hears, until the client closes it.
func (s *streams) socket(w http.ResponseWriter, r *http.Request) {
	s.sockets.Add(1)
	defer s.sockets.Done()
	connection, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // It has answered.
	}
	defer connection.CloseNow()
	for {
		kind, said, err := connection.Read(context.Background())
		if err != nil {
			return
		}
		if err := connection.Write(context.Background(), kind, said); err != nil {
			return
		}
	}
}

// talk is the same by gRPC: tidegate.test.Talk/Echo, a stream of google.protobuf.StringValue both ways, until the
// client says no more. So small a service needs no generated code.
func (s *streams) talk() *grpc.ServiceDesc {
	echo := grpc.StreamDesc{StreamName: "Echo", Handler: s.echo, ServerStreams: true, ClientStreams: true}
	return &grpc.ServiceDesc{ServiceName: "tidegate.test.Talk", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{echo}}
}

func (s *streams) echo(_ any, stream grpc.ServerStream) error {
	if err := stream.SendHeader(metadata.Pairs("x-version", s.version)); err != nil {
		return err
	}
	for {
		var said wrapperspb.StringValue
		if err := stream.RecvMsg(&said); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&said); err != nil {
			return err
		}
	}
}
