package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
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

func newCounters(flag *flag) *counters {
	return &counters{
		http: newProtocol("http_requests_total", "code", "http_request_duration_seconds", []string{"200", "500"}, flag.variants()),
		grpc: newProtocol("grpc_server_handled_total", "grpc_code", "grpc_server_handling_seconds",
			[]string{codes.OK.String(), codes.Internal.String()}, noFlag),
	}
}

func (c *counters) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	c.http.write(w)
	c.grpc.write(w)
}

// protocol counts the answers of one protocol, by what they were served where a flag is read. All series exist from the
// start: one that first appears with its first error has no increase to show for it.
type protocol struct {
	total, label, duration string
	codes                  []string
	variants               []variant

	mutex sync.Mutex
	of    map[string]*counted
}

// variant is a variant of the flag, and the labels that tell of it; without a flag both are empty.
type variant struct {
	name   string
	labels []string
}

// counted is what was answered to those who were served one variant.
type counted struct {
	codes   map[string]uint64
	buckets []uint64 // not cumulative; the last one is +Inf
	seconds float64
}

var noFlag = []variant{{}}

func newProtocol(total, label, duration string, codes []string, variants []variant) *protocol {
	p := &protocol{
		total: total, label: label, duration: duration, codes: codes, variants: variants, of: map[string]*counted{},
	}
	for _, variant := range variants {
		p.of[variant.name] = &counted{codes: map[string]uint64{}, buckets: make([]uint64, len(bounds)+1)}
	}
	return p
}

func (p *protocol) count(code, variant string, took time.Duration) {
	bucket := 0
	for bucket < len(bounds) && took.Seconds() > bounds[bucket] {
		bucket++
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	counted := p.of[variant]
	counted.codes[code]++
	counted.buckets[bucket]++
	counted.seconds += took.Seconds()
}

func (p *protocol) write(w io.Writer) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	fmt.Fprintf(w, "# HELP %s Requests answered, by status.\n# TYPE %[1]s counter\n", p.total)
	for _, variant := range p.variants {
		for _, code := range p.codes {
			labels := series(variant.labels, fmt.Sprintf("%s=%q", p.label, code))
			fmt.Fprintf(w, "%s%s %d\n", p.total, labels, p.of[variant.name].codes[code])
		}
	}
	fmt.Fprintf(w, "# HELP %s How long answers took.\n# TYPE %[1]s histogram\n", p.duration)
	for _, variant := range p.variants {
		counted, total := p.of[variant.name], uint64(0)
		for i, count := range counted.buckets {
			total += count
			bound := "+Inf"
			if i < len(bounds) {
				bound = strconv.FormatFloat(bounds[i], 'g', -1, 64)
			}
			fmt.Fprintf(w, "%s_bucket%s %d\n", p.duration, series(variant.labels, fmt.Sprintf("le=%q", bound)), total)
		}
		labels := series(variant.labels)
		fmt.Fprintf(w, "%s_sum%s %g\n%[1]s_count%[2]s %[4]d\n", p.duration, labels, counted.seconds, total)
	}
}

// series are labels as they stand behind a name.
func series(labels []string, more ...string) string {
	all := append(slices.Clone(labels), more...)
	if len(all) == 0 {
		return ""
	}
	return "{" + strings.Join(all, ",") + "}"
}
