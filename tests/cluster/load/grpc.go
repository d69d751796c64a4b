package main

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// overGRPC sends unary calls (Check of the standard health service) over as many connections as there are clients at
// the start. What a gRPC client does by itself stays: a call that no server has begun is sent again.
func overGRPC(o options) (func() (key, failure string), error) {
	target, err := url.Parse(o.url)
	if err != nil {
		return nil, err
	}
	settings := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if o.host != "" {
		settings = append(settings, grpc.WithAuthority(o.host))
	}
	clients := make([]grpc_health_v1.HealthClient, o.workers)
	for i := range clients {
		connection, err := grpc.NewClient("passthrough:///"+target.Host, settings...)
		if err != nil {
			return nil, err
		}
		clients[i] = grpc_health_v1.NewHealthClient(connection)
	}
	var next atomic.Uint64
	return func() (key, failure string) {
		return call(clients[next.Add(1)%uint64(len(clients))], o)
	}, nil
}

func call(client grpc_health_v1.HealthClient, o options) (key, failure string) {
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	var header metadata.MD
	_, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: o.service}, grpc.Header(&header))
	said := status.Convert(err)
	if version := header.Get("x-version"); len(version) > 0 {
		return version[0] + " " + said.Code().String(), ""
	}
	text := fmt.Sprintf("%s: %s", said.Code(), localPort.ReplaceAllString(said.Message(), ""))
	return "error: " + text, text
}
