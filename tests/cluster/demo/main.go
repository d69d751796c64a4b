// Command demo is the service that the tests and the demo release: it answers its version, by HTTP and by gRPC, and
// misbehaves on request, so that a bad release is one environment variable away from a good one. It has answers that
// last as well: /stream?seconds=20, a WebSocket at /socket, and gRPC's tidegate.test.Talk/Echo.
//
//	VERSION        what / answers, and the X-Version header of every answer (default "v1")
//	ERROR_RATE     share of the answers to / that are 500, by gRPC INTERNAL, 0 to 1, drawn at random
//	LATENCY_MS     how long an answer to / takes
//	NOT_READY      "1": /healthz answers 503
//	DATABASE       what /health/deep says of it (default "ok"; with anything else it answers 503)
//	FLAG           a feature flag that is read for each answer to /, at the gateway FLAGS_URL with the token FLAGS_TOKEN,
//	               for the X-User who asks or else for somebody at random; X-Version then ends with its variant: v1+on
//	ON_PER_SECOND  how many answers a second are no 500 to whom the flag is on (default: all)
//	GET            asks this URL, says what was answered in its termination message and ends: with 0 if that was 200
//	EXIT_AT_START  "1": exits with 1 at once, as a release that crash-loops
//	DRAIN_MS       how long it takes new requests after SIGTERM (default 3000); it ends when those it has are answered,
//	               streams too, or when its grace period is over
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

const (
	address     = ":8080"
	grpcAddress = ":9090"
)

type settings struct {
	version   string
	errorRate float64
	latency   time.Duration
	notReady  bool
	database  string
	drain     time.Duration
}

func main() {
	if os.Getenv("EXIT_AT_START") == "1" {
		log.Fatal("EXIT_AT_START is set: leaving")
	}
	if url := os.Getenv("GET"); url != "" {
		os.Exit(get(url))
	}
	config := settings{
		version:   text("VERSION", "v1"),
		errorRate: number("ERROR_RATE", 0),
		latency:   time.Duration(number("LATENCY_MS", 0) * float64(time.Millisecond)),
		notReady:  os.Getenv("NOT_READY") == "1",
		database:  text("DATABASE", "ok"),
		drain:     time.Duration(number("DRAIN_MS", 3000) * float64(time.Millisecond)),
	}
	if config.errorRate > 1 {
		log.Fatalf("ERROR_RATE must lie between 0 and 1, not %v", config.errorRate)
	}
	var draining atomic.Bool
	perSecond := number("ON_PER_SECOND", math.Inf(1))
	switchOf, err := newFlag(os.Getenv("FLAG"), os.Getenv("FLAGS_URL"), os.Getenv("FLAGS_TOKEN"), perSecond)
	if err != nil {
		log.Fatal(err)
	}
	counters := newCounters(switchOf)
	lasting := &streams{version: config.version}
	server := &http.Server{
		Addr: address, Handler: handler(config, switchOf, counters, lasting, &draining), ReadHeaderTimeout: 10 * time.Second,
	}
	grpcServer := newGRPC(config, counters, lasting)
	listener, err := net.Listen("tcp", grpcAddress)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := grpcServer.Serve(listener); err != nil {
			log.Fatal(err)
		}
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-stop
		// The router hears of the end of this pod later than the pod itself. Until then it sends more
		// requests, on old connections and on new ones: answer them all, and ask each connection to end.
		draining.Store(true)
		log.Printf("SIGTERM: serving for %v more", config.drain)
		time.Sleep(config.drain)
		end(server, grpcServer, lasting)
	}()
	log.Printf("version %s listens on %s, gRPC on %s (error rate %v, latency %v)", config.version, address, grpcAddress, config.errorRate, config.latency)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stopped
}

// end takes no more requests and waits for the last answer, however long it lasts: the kubelet knows the grace period,
// and ends what is longer.
func end(server *http.Server, grpcServer *grpc.Server, lasting *streams) {
	calls := make(chan struct{})
	go func() { defer close(calls); grpcServer.GracefulStop() }()
	if err := server.Shutdown(context.Background()); err != nil {
		log.Print(err)
	}
	lasting.sockets.Wait()
	<-calls
}

func handler(config settings, flag *flag, counters *counters, lasting *streams, draining *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/stream", lasting.lines)
	mux.HandleFunc("/socket", lasting.socket)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if config.notReady {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/health/deep", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if config.database != "ok" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, `{"db":%q,"cache":"ok"}`+"\n", config.database)
	})
	mux.HandleFunc("/metrics", counters.serve)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		code := http.StatusOK
		variant := flag.variant(r)
		if config.errorRate > 0 && rand.Float64() < config.errorRate || variant == on && !flag.copes() {
			code = http.StatusInternalServerError
		}
		if config.latency > 0 {
			select {
			case <-time.After(config.latency):
			case <-r.Context().Done():
			}
		}
		// Counted before it is sent: whoever has read the answer finds it in the metrics.
		counters.http.count(strconv.Itoa(code), variant, time.Since(start))
		if variant != "" {
			w.Header().Set("X-Version", config.version+"+"+variant)
		}
		w.WriteHeader(code)
		fmt.Fprintln(w, config.version)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Version", config.version)
		if draining.Load() {
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}

// get is what a smoke test is: one request, and a word about its answer.
func get(url string) int {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		log.Print(err)
		return 1
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 512))
	told := fmt.Sprintf("%d of %s: %s", response.StatusCode, response.Header.Get("X-Version"), body)
	if err := os.WriteFile("/dev/termination-log", []byte(told), 0o644); err != nil {
		log.Print(err)
	}
	if response.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}

func text(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func number(name string, otherwise float64) float64 {
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	parsed, err := strconv.ParseFloat(value, 64)
	if err != nil || parsed < 0 {
		log.Fatalf("%s must be a number of at least 0, not %q", name, value)
	}
	return parsed
}
