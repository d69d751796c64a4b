package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

var bounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

// counters are the metrics of the service, in the text format of Prometheus: of HTTP by the names that are common,
// of gRPC by those of its Prometheus middleware.
type counters struct {
	http, grpc *protocol
}

func newCounters() *counters {
	return &counters{
		http: newProtocol("http_requests_total", "code", "http_request_duration_seconds", []string{"200", "500"}),
		grpc: newProtocol("grpc_server_handled_total", "grpc_code", "grpc_server_handling_seconds",
			[]string{codes.OK.String(), codes.Internal.String()}),
	}
}

func (c *counters) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	c.http.write(w)
	c.grpc.write(w)
}

// protocol counts the answers of one protocol. All codes exist from the start: a series that first appears with its
// first error has no increase to show for it.
type protocol struct {
	total, label, duration string
	codes                  []string

	mutex   sync.Mutex
	counts  map[string]uint64
	buckets []uint64 // not cumulative; the last one is +Inf
	seconds float64
}

func newProtocol(total, label, duration string, codes []string) *protocol {
	return &protocol{
		total: total, label: label, duration: duration, codes: codes,
		counts:  map[string]uint64{},
		buckets: make([]uint64, len(bounds)+1),
	}
}

func (p *protocol) count(code string, took time.Duration) {
	bucket := 0
	for bucket < len(bounds) && took.Seconds() > bounds[bucket] {
		bucket++
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.counts[code]++
	p.buckets[bucket]++
	p.seconds += took.Seconds()
}

func (p *protocol) write(w io.Writer) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	fmt.Fprintf(w, "# HELP %s Requests answered, by status.\n# TYPE %[1]s counter\n", p.total)
	for _, code := range p.codes {
		fmt.Fprintf(w, "%s{%s=%q} %d\n", p.total, p.label, code, p.counts[code])
	}
	fmt.Fprintf(w, "# HELP %s How long answers took.\n# TYPE %[1]s histogram\n", p.duration)
	total := uint64(0)
	for i, count := range p.buckets {
		total += count
		bound := "+Inf"
		if i < len(bounds) {
			bound = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		fmt.Fprintf(w, "%s_bucket{le=%q} %d\n", p.duration, bound, total)
	}
	fmt.Fprintf(w, "%s_sum %g\n%s_count %d\n", p.duration, p.seconds, p.duration, total)
}
