package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// target is what a command calls: an address, and what every request carries.
type target struct {
	address string
	request *http.Request
	limit   time.Duration
	secure  *http.Transport // for https
}

// answer is what a call got.
type answer struct {
	Status      int         `json:"status"`
	Body        string      `json:"body"`
	Headers     http.Header `json:"headers"`
	Protocol    string      `json:"protocol"`
	Certificate string      `json:"certificate,omitempty"` // in PEM, the server's own
}

// status is that of an answer, or 0 where there was none.
func (a *answer) status() int {
	if a == nil {
		return 0
	}
	return a.Status
}

// connection calls a target, and says what happened to every single call. net/http's client would send a request again
// when a reused connection breaks, and so hide what is counted here.
type connection struct {
	target *target
	stream net.Conn
	reader *bufio.Reader
	secure *http.ClientConn // over TLS, in place of both
}

// call sends one request and reads the whole answer.
func (c *connection) call() (*answer, error) {
	if c.target.secure != nil {
		return c.callSecurely()
	}
	if c.stream != nil && c.closed() {
		c.close()
	}
	if c.stream == nil {
		stream, err := net.DialTimeout("tcp", c.target.address, c.target.limit)
		if err != nil {
			return nil, err
		}
		c.stream, c.reader = stream, bufio.NewReader(stream)
	}
	got, last, err := c.exchange()
	if err != nil || last {
		c.close()
	}
	return got, err
}

func (c *connection) exchange() (got *answer, last bool, err error) {
	if err = c.stream.SetDeadline(time.Now().Add(c.target.limit)); err != nil {
		return
	}
	request, err := c.target.again(context.Background())
	if err != nil {
		return
	}
	if err = request.Write(c.stream); err != nil {
		return
	}
	response, err := http.ReadResponse(c.reader, request)
	if err != nil {
		return
	}
	got, err = read(response)
	return got, response.Close, err
}

// read takes the whole of an answer.
func read(response *http.Response) (*answer, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return &answer{
		Status: response.StatusCode, Body: string(body), Headers: response.Header, Protocol: response.Proto,
	}, nil
}

// again is the request once more, with a body of its own.
func (t *target) again(ctx context.Context) (*http.Request, error) {
	request := t.request.Clone(ctx)
	if t.request.GetBody == nil {
		return request, nil
	}
	var err error
	request.Body, err = t.request.GetBody()
	return request, err
}

// closed tells whether the server ended the connection while nothing was under way. Every client looks before it uses a
// connection again.
func (c *connection) closed() bool {
	_ = c.stream.SetReadDeadline(time.Now().Add(time.Microsecond))
	_, err := c.reader.Peek(1)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *connection) close() {
	if c.secure != nil {
		_ = c.secure.Close()
		c.secure = nil
	}
	if c.stream != nil {
		_ = c.stream.Close()
		c.stream = nil
	}
}

// headers is a flag that may be given several times.
type headers []string

func (h *headers) String() string { return strings.Join(*h, ", ") }

func (h *headers) Set(value string) error {
	*h = append(*h, value)
	return nil
}

// newTarget makes one of a URL and of what the flags say; a form makes it a POST.
func (o *options) newTarget(url string) (*target, error) {
	method, body := o.method, io.Reader(nil)
	if o.form != "" {
		method, body = http.MethodPost, strings.NewReader(o.form)
	}
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, err
	}
	if o.form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, line := range o.headers {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "host") {
			request.Host = value
		} else {
			request.Header.Add(name, value)
		}
	}
	made := &target{request: request, limit: o.limit}
	port := "80"
	if request.URL.Scheme == "https" {
		port = "443"
		if made.secure, err = transport(o.roots, request.Host, o.protocol); err != nil {
			return nil, err
		}
	}
	made.address = request.URL.Host
	if request.URL.Port() == "" {
		made.address = net.JoinHostPort(request.URL.Hostname(), port)
	}
	return made, nil
}
