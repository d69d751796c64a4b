// Command load sends requests at a constant rate, as many clients with keep-alive connections do, and tells
// of every answer which version gave it. By -grpc they are unary gRPC calls. By -lasting they are connections that
// last -last each, and begin at that rate: see lasting.go for how they count.
//
// The rate is open-loop: a slow answer does not hold up the next request (more workers start, up to
// -max-workers), so that a bad release cannot hide behind the requests that were never sent.
//
// Each answer counts under a key: "v1 200" or "v1 OK" (X-Version header and status), "router 503" (no X-Version:
// the router itself answered) or "error: …" (no answer at all; of gRPC also the router's). There is no retry here. Go's transport, as every
// common HTTP client, sends an idempotent request again by itself when the connection that it reused turns
// out to be closed before the first byte of an answer; that is what real clients do, so it stays.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	url        string
	host       string
	rate       float64
	workers    int
	maxWorkers int
	duration   time.Duration
	timeout    time.Duration
	out        string
	grpc       bool
	service    string
	lasting    string
	last       time.Duration
	post       string
	token      string
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", "", "where to send requests")
	flag.StringVar(&o.host, "host", "", "the Host header, if it is not the URL's host")
	flag.Float64Var(&o.rate, "rate", 100, "requests per second")
	flag.IntVar(&o.workers, "workers", 8, "clients at the start")
	flag.IntVar(&o.maxWorkers, "max-workers", 512, "clients at most, when answers are slow")
	flag.DurationVar(&o.duration, "duration", 0, "how long; 0: until SIGTERM or SIGINT")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Second, "how long to wait for one answer")
	flag.StringVar(&o.out, "out", "", "file for one JSON line for each 100 ms with answers")
	flag.BoolVar(&o.grpc, "grpc", false, "send gRPC calls, in clear text, to the URL's host")
	flag.StringVar(&o.service, "service", "checkout", "the service that the gRPC calls ask for")
	flag.StringVar(&o.lasting, "lasting", "", "hold connections: stream (a long answer), socket (WebSocket), call (a gRPC stream)")
	flag.DurationVar(&o.last, "last", 20*time.Second, "how long to hold each, in whole seconds")
	flag.StringVar(&o.post, "post", "", "send POST requests with this JSON")
	flag.StringVar(&o.token, "token", "", "a bearer token to send")
	flag.Parse()
	if o.url == "" || o.rate <= 0 || o.workers < 1 || o.maxWorkers < o.workers || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: load -url URL [-rate 100] [-workers 8] …; a rate above 0, 1 worker or more")
		flag.PrintDefaults()
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if o.duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	lines := io.Discard
	if o.out != "" {
		file, err := os.Create(o.out)
		if err != nil {
			return err
		}
		defer file.Close()
		lines = file
	}
	tally := newTally(lines)
	send, err := sender(ctx, o, tally)
	if err != nil {
		return err
	}
	flushing, stopFlushing := context.WithCancel(context.Background())
	flushed := make(chan struct{})
	go func() { defer close(flushed); tally.flushRegularly(flushing) }()
	pace(ctx, o, send)
	stopFlushing()
	<-flushed
	return json.NewEncoder(os.Stdout).Encode(tally.summary())
}

// sender is what is to be done at the rate asked for.
func sender(ctx context.Context, o options, tally *tally) (func(), error) {
	if o.lasting != "" {
		open, err := openerOf(o)
		return func() { hold(ctx, o, open, tally) }, err
	}
	over := overHTTP
	if o.grpc {
		over = overGRPC
	}
	request, err := over(o)
	return func() {
		sent := time.Now()
		key, failure := request()
		tally.add(key, failure, time.Now(), time.Since(sent))
	}, err
}

// overHTTP sends GET requests, or POST requests with what is to be posted.
func overHTTP(o options) (func() (key, failure string), error) {
	method := http.MethodGet
	if o.post != "" {
		method = http.MethodPost
	}
	request, err := http.NewRequest(method, o.url, strings.NewReader(o.post))
	if err != nil {
		return nil, err
	}
	if o.post != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if o.token != "" {
		request.Header.Set("Authorization", "Bearer "+o.token)
	}
	if o.host != "" {
		request.Host = o.host
	}
	client := &http.Client{
		Timeout: o.timeout,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: o.maxWorkers,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func() (key, failure string) { return answer(client, request) }, nil
}

// answer sends one request; failure is the text of what came instead of an answer of the service.
func answer(client *http.Client, request *http.Request) (key, failure string) {
	clone := request.Clone(request.Context())
	if request.GetBody != nil {
		clone.Body, _ = request.GetBody() // of a text in memory: it cannot fail
	}
	response, err := client.Do(clone)
	if err != nil {
		text := withoutPorts(err)
		return "error: " + text, text
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		text := withoutPorts(err)
		return "error: " + text, text
	}
	if version := response.Header.Get("X-Version"); version != "" {
		return version + " " + strconv.Itoa(response.StatusCode), ""
	}
	key = "router " + strconv.Itoa(response.StatusCode)
	if response.StatusCode >= 400 {
		failure = key + ": " + string(body[:min(len(body), 200)])
	}
	return key, failure
}

var localPort = regexp.MustCompile(`[0-9a-f.:\[\]]+->`)

// withoutPorts gives the same text for the same failure: the number of the client's port differs each time.
func withoutPorts(err error) string {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return localPort.ReplaceAllString(err.Error(), "")
}
