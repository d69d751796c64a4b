package main

import (
	"context"
	"sync"
	"time"
)

// pace calls send at the rate asked for until the context ends, and returns when every call has.
func pace(ctx context.Context, o options, send func()) {
	due := make(chan struct{})
	var workers sync.WaitGroup
	work := func(first bool) {
		defer workers.Done()
		if first {
			send()
		}
		for range due {
			send()
		}
	}
	for range o.workers {
		workers.Add(1)
		go work(false)
	}
	count := o.workers
	start := time.Now()
	for sent := 0; ; sent++ {
		at := start.Add(time.Duration(float64(sent) / o.rate * float64(time.Second)))
		if wait := time.Until(at); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		select {
		case due <- struct{}{}:
			continue
		default:
		}
		if count < o.maxWorkers {
			count++
			workers.Add(1)
			go work(true)
			continue
		}
		select {
		case due <- struct{}{}:
		case <-ctx.Done():
		}
	}
	close(due)
	workers.Wait()
}
