package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"math"
	"sync"
	"time"
)

const (
	bucketLength = 100 * time.Millisecond
	maxFailures  = 1000
	// Latencies are kept as counts on a logarithmic scale: 1 % exact, and no memory however long it runs.
	latencyStep = 1.01
	latencyUnit = 10 * time.Microsecond
)

type failure struct {
	Time float64 `json:"t"`
	Text string  `json:"text"`
}

type bucket struct {
	Time   float64        `json:"t"`
	Counts map[string]int `json:"counts"`
}

type summary struct {
	Started  float64            `json:"started"`
	Ended    float64            `json:"ended"`
	Total    int                `json:"total"`
	Counts   map[string]int     `json:"counts"`
	First    map[string]float64 `json:"first"`
	Last     map[string]float64 `json:"last"`
	LastSent map[string]float64 `json:"last_sent"` // what slow answers do not blur
	Latency  map[string]float64 `json:"latency_ms"`
	Failures []failure          `json:"failures"`
}

// tally counts answers: for the summary at the end, and for the current tenth of a second.
type tally struct {
	mutex     sync.Mutex
	lines     *json.Encoder
	current   bucket
	sum       summary
	latencies []int
	longest   time.Duration
}

func newTally(lines io.Writer) *tally {
	encoder := json.NewEncoder(lines)
	encoder.SetEscapeHTML(false)
	now := time.Now()
	return &tally{
		lines:   encoder,
		current: bucket{Time: unix(now), Counts: map[string]int{}},
		sum: summary{
			Started:  unix(now),
			Counts:   map[string]int{},
			First:    map[string]float64{},
			Last:     map[string]float64{},
			LastSent: map[string]float64{},
			Failures: []failure{},
		},
	}
}

// add counts something that is over.
func (t *tally) add(key, failed string, at time.Time, took time.Duration) {
	t.count(key, failed, at, took)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.sum.Total++
	step := 0
	if took > latencyUnit {
		step = int(math.Ceil(math.Log(float64(took)/float64(latencyUnit)) / math.Log(latencyStep)))
	}
	for len(t.latencies) <= step {
		t.latencies = append(t.latencies, 0)
	}
	t.latencies[step]++
	t.longest = max(t.longest, took)
}

// count counts something that may be a part of what is to be added.
func (t *tally) count(key, failed string, at time.Time, took time.Duration) {
	stamp := unix(at)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.current.Counts[key]++
	t.sum.Counts[key]++
	if _, seen := t.sum.First[key]; !seen {
		t.sum.First[key] = stamp
	}
	t.sum.Last[key] = max(t.sum.Last[key], stamp)
	t.sum.LastSent[key] = max(t.sum.LastSent[key], unix(at.Add(-took)))
	if failed != "" && len(t.sum.Failures) < maxFailures {
		t.sum.Failures = append(t.sum.Failures, failure{stamp, failed})
	}
}

func (t *tally) flushRegularly(ctx context.Context) {
	ticker := time.NewTicker(bucketLength)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			t.flush(now)
		case <-ctx.Done():
			t.flush(time.Now())
			return
		}
	}
}

func (t *tally) flush(now time.Time) {
	t.mutex.Lock()
	done := t.current
	t.current = bucket{Time: unix(now), Counts: map[string]int{}}
	t.mutex.Unlock()
	if len(done.Counts) == 0 {
		return
	}
	if err := t.lines.Encode(done); err != nil {
		log.Fatal(err)
	}
}

func (t *tally) summary() summary {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.sum.Ended = unix(time.Now())
	t.sum.Latency = map[string]float64{
		"p50": t.quantile(.5), "p90": t.quantile(.9), "p99": t.quantile(.99), "max": milliseconds(t.longest),
	}
	return t.sum
}

func (t *tally) quantile(share float64) float64 {
	rank, seen := int(math.Ceil(share*float64(t.sum.Total))), 0
	for step, count := range t.latencies {
		if seen += count; seen >= rank && count > 0 {
			return milliseconds(min(t.longest, time.Duration(float64(latencyUnit)*math.Pow(latencyStep, float64(step)))))
		}
	}
	return 0
}

func unix(at time.Time) float64 { return float64(at.UnixMicro()) / 1e6 }

func milliseconds(d time.Duration) float64 { return math.Round(float64(d.Microseconds())) / 1000 }
