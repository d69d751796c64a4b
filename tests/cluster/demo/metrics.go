package main

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

var bounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

// counters are the two metrics of the service, in the text format of Prometheus. Both codes exist from the
// start: a series that first appears with its first error has no increase to show for it.
type counters struct {
	mutex   sync.Mutex
	codes   map[int]uint64
	buckets []uint64 // not cumulative; the last one is +Inf
	seconds float64
}

func newCounters() *counters {
	return &counters{
		codes:   map[int]uint64{http.StatusOK: 0, http.StatusInternalServerError: 0},
		buckets: make([]uint64, len(bounds)+1),
	}
}

func (c *counters) count(code int, took time.Duration) {
	bucket := 0
	for bucket < len(bounds) && took.Seconds() > bounds[bucket] {
		bucket++
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.codes[code]++
	c.buckets[bucket]++
	c.seconds += took.Seconds()
}

func (c *counters) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	c.mutex.Lock()
	defer c.mutex.Unlock()
	fmt.Fprintln(w, "# HELP http_requests_total Answers to /, by status code.")
	fmt.Fprintln(w, "# TYPE http_requests_total counter")
	for _, code := range []int{http.StatusOK, http.StatusInternalServerError} {
		fmt.Fprintf(w, "http_requests_total{code=\"%d\"} %d\n", code, c.codes[code])
	}
	fmt.Fprintln(w, "# HELP http_request_duration_seconds How long answers to / took.")
	fmt.Fprintln(w, "# TYPE http_request_duration_seconds histogram")
	total := uint64(0)
	for i, count := range c.buckets {
		total += count
		bound := "+Inf"
		if i < len(bounds) {
			bound = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		fmt.Fprintf(w, "http_request_duration_seconds_bucket{le=\"%s\"} %d\n", bound, total)
	}
	fmt.Fprintf(w, "http_request_duration_seconds_sum %g\n", c.seconds)
	fmt.Fprintf(w, "http_request_duration_seconds_count %d\n", total)
}
