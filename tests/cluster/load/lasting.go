package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// connection is one that lasts, over a transport of its own.
type connection interface {
	beat(second int) error // what is due once a second, seen to be right
	finish() error         // the end that both sides agree upon
	drop()
}

// opener opens one, and says which version took it. The connection ends with the context.
type opener func(ctx context.Context) (version string, opened connection, err error)

func openerOf(o options) (opener, error) {
	switch o.lasting {
	case "stream":
		return o.openStream, nil
	case "socket":
		return o.openSocket, nil
	case "call":
		return o.openCall, nil
	}
	return nil, fmt.Errorf("-lasting is stream, socket or call, not %q", o.lasting)
}

// hold opens a connection and holds it as long as it is to last. It counts under "v1 opened" and then under "v1 full",
// "v1 cut", or "v1 left" where the load itself is over; one that nobody took, under "refused".
func hold(ctx context.Context, o options, open opener, tally *tally) {
	life, drop := context.WithTimeout(context.Background(), o.last+o.timeout)
	defer drop()
	defer context.AfterFunc(ctx, drop)()
	began := time.Now()
	version, held, err := open(life)
	if err != nil {
		if ctx.Err() == nil {
			tally.add("refused", "refused: "+withoutPorts(err), time.Now(), time.Since(began))
		}
		return
	}
	defer held.drop()
	tally.count(version+" opened", "", time.Now(), time.Since(began))
	for second := 1; err == nil && second <= int(o.last/time.Second); second++ {
		err = held.beat(second)
	}
	if err == nil {
		err = held.finish()
	}
	ended, took := time.Now(), time.Since(began)
	switch {
	case err == nil:
		tally.add(version+" full", "", ended, took)
	case ctx.Err() != nil:
		tally.add(version+" left", "", ended, took)
	default:
		told := fmt.Sprintf("%s: cut after %.1f of %.0f s: %s", version, took.Seconds(), o.last.Seconds(), withoutPorts(err))
		tally.add(version+" cut", told, ended, took)
	}
}

// alone is a client for one connection.
func (o options) alone() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: o.timeout}).DialContext,
			ResponseHeaderTimeout: o.timeout,
			DisableKeepAlives:     true,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// taker is the version that took a connection; it is none where the router answered, or with another status.
func taker(response *http.Response, status int) (string, error) {
	version := response.Header.Get("X-Version")
	if version == "" || response.StatusCode != status {
		by := version
		if by == "" {
			by = "router"
		}
		return "", fmt.Errorf("%s %d", by, response.StatusCode)
	}
	return version, nil
}

type stream struct {
	body  io.ReadCloser
	lines *bufio.Scanner
}

// openStream asks /stream for an answer that lasts.
func (o options) openStream(ctx context.Context) (string, connection, error) {
	at := fmt.Sprintf("%s/stream?seconds=%.0f", o.url, o.last.Seconds())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return "", nil, err
	}
	request.Host = o.host
	response, err := o.alone().Do(request)
	if err != nil {
		return "", nil, err
	}
	version, err := taker(response, http.StatusOK)
	if err != nil {
		response.Body.Close()
		return "", nil, err
	}
	return version, &stream{response.Body, bufio.NewScanner(response.Body)}, nil
}

func (s *stream) expect(line string) error {
	if !s.lines.Scan() {
		if err := s.lines.Err(); err != nil {
			return err
		}
		return io.ErrUnexpectedEOF
	}
	if s.lines.Text() != line {
		return fmt.Errorf("the line is %q, not %q", s.lines.Text(), line)
	}
	return nil
}

func (s *stream) beat(second int) error { return s.expect(strconv.Itoa(second)) }

func (s *stream) finish() error {
	if err := s.expect("end"); err != nil {
		return err
	}
	if s.lines.Scan() {
		return fmt.Errorf("the line after the last is %q", s.lines.Text())
	}
	return s.lines.Err()
}

func (s *stream) drop() { s.body.Close() }

type socket struct {
	ctx        context.Context
	connection *websocket.Conn
}

// openSocket opens a WebSocket at /socket.
func (o options) openSocket(ctx context.Context) (string, connection, error) {
	settings := &websocket.DialOptions{HTTPClient: o.alone(), Host: o.host}
	opened, response, err := websocket.Dial(ctx, o.url+"/socket", settings)
	if err != nil {
		if response != nil {
			_, err = taker(response, http.StatusSwitchingProtocols)
		}
		return "", nil, err
	}
	version, err := taker(response, http.StatusSwitchingProtocols)
	if err != nil {
		opened.CloseNow()
		return "", nil, err
	}
	return version, &socket{ctx, opened}, nil
}

func (s *socket) beat(second int) error {
	if err := pause(s.ctx); err != nil {
		return err
	}
	word := strconv.Itoa(second)
	if err := s.connection.Write(s.ctx, websocket.MessageText, []byte(word)); err != nil {
		return err
	}
	_, said, err := s.connection.Read(s.ctx)
	return echoed(word, string(said), err)
}

func (s *socket) finish() error { return s.connection.Close(websocket.StatusNormalClosure, "") }

func (s *socket) drop() { s.connection.CloseNow() }

type talk struct {
	ctx    context.Context
	client *grpc.ClientConn
	stream grpc.ClientStream
}

// openCall begins a stream of tidegate.test.Talk/Echo.
func (o options) openCall(ctx context.Context) (string, connection, error) {
	target, err := url.Parse(o.url)
	if err != nil {
		return "", nil, err
	}
	settings := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if o.host != "" {
		settings = append(settings, grpc.WithAuthority(o.host))
	}
	client, err := grpc.NewClient("passthrough:///"+target.Host, settings...)
	if err != nil {
		return "", nil, err
	}
	version, stream, err := begin(ctx, client)
	if err != nil {
		client.Close()
		return "", nil, err
	}
	return version, &talk{ctx, client, stream}, nil
}

func begin(ctx context.Context, client *grpc.ClientConn) (string, grpc.ClientStream, error) {
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := client.NewStream(ctx, both, "/tidegate.test.Talk/Echo")
	if err != nil {
		return "", nil, err
	}
	header, err := stream.Header()
	if err != nil {
		return "", nil, err
	}
	if version := header.Get("x-version"); len(version) > 0 {
		return version[0], stream, nil
	}
	// Ended before it began: the status is what comes next.
	if err := stream.RecvMsg(&wrapperspb.StringValue{}); err != nil {
		return "", nil, err
	}
	return "", nil, errors.New("no x-version came with it")
}

func (t *talk) beat(second int) error {
	if err := pause(t.ctx); err != nil {
		return err
	}
	word := wrapperspb.String(strconv.Itoa(second))
	// An end of the stream is told by what comes back.
	if err := t.stream.SendMsg(word); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var said wrapperspb.StringValue
	err := t.stream.RecvMsg(&said)
	return echoed(word.Value, said.Value, err)
}

func (t *talk) finish() error {
	if err := t.stream.CloseSend(); err != nil {
		return err
	}
	switch err := t.stream.RecvMsg(&wrapperspb.StringValue{}); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return errors.New("more came after the end")
}

func (t *talk) drop() { t.client.Close() }

func pause(ctx context.Context) error {
	select {
	case <-time.After(time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func echoed(word, said string, err error) error {
	if err == nil && said != word {
		return fmt.Errorf("%q came back, not %q", said, word)
	}
	return err
}
