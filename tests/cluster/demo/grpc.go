package main

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// checkout answers gRPC: the Check of the standard health service, for which every client has the stubs. Asked for
// the service "" it tells whether the pod is well, as kubelets ask; asked for any other it is a request like those to
// /, and misbehaves as they do.
type checkout struct {
	grpc_health_v1.UnimplementedHealthServer
	config   settings
	counters *counters
}

func newGRPC(config settings, counters *counters, lasting *streams) *grpc.Server {
	server := grpc.NewServer()
	server.RegisterService(lasting.talk(), nil)
	grpc_health_v1.RegisterHealthServer(server, &checkout{config: config, counters: counters})
	return server
}

func (c *checkout) Check(ctx context.Context, request *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-version", c.config.version)); err != nil {
		return nil, err
	}
	if request.Service == "" {
		return c.health(), nil
	}
	start := time.Now()
	code := codes.OK
	if c.config.errorRate > 0 && rand.Float64() < c.config.errorRate {
		code = codes.Internal
	}
	if c.config.latency > 0 {
		select {
		case <-time.After(c.config.latency):
		case <-ctx.Done():
		}
	}
	c.counters.grpc.count(code.String(), "", time.Since(start))
	if code != codes.OK {
		return nil, status.Error(code, c.config.version)
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func (c *checkout) health() *grpc_health_v1.HealthCheckResponse {
	if c.config.notReady {
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}
}
