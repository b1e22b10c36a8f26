package main

import (
	"bufio"
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
}

// connection calls a target, and says what happened to every single call. net/http's client would send a request again
// when a reused connection breaks, and so hide what is counted here.
type connection struct {
	target *target
	stream net.Conn
	reader *bufio.Reader
}

// call sends one request and reads the whole answer.
func (c *connection) call() (int, []byte, error) {
	if c.stream != nil && c.closed() {
		c.close()
	}
	if c.stream == nil {
		stream, err := net.DialTimeout("tcp", c.target.address, c.target.limit)
		if err != nil {
			return 0, nil, err
		}
		c.stream, c.reader = stream, bufio.NewReader(stream)
	}
	status, body, last, err := c.exchange()
	if err != nil || last {
		c.close()
	}
	return status, body, err
}

func (c *connection) exchange() (status int, body []byte, last bool, err error) {
	if err = c.stream.SetDeadline(time.Now().Add(c.target.limit)); err != nil {
		return
	}
	request := c.target.request.Clone(c.target.request.Context())
	if c.target.request.GetBody != nil {
		if request.Body, err = c.target.request.GetBody(); err != nil {
			return
		}
	}
	if err = request.Write(c.stream); err != nil {
		return
	}
	response, err := http.ReadResponse(c.reader, request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, response.Close, err
}

// closed tells whether the server ended the connection while nothing was under way. Every client looks before it uses a
// connection again.
func (c *connection) closed() bool {
	_ = c.stream.SetReadDeadline(time.Now().Add(time.Microsecond))
	_, err := c.reader.Peek(1)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *connection) close() {
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

// newTarget makes one of a URL, of headers "Name: value", and of a form, which makes it a POST.
func newTarget(url string, lines headers, form string, limit time.Duration) (*target, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if form != "" {
		method, body = http.MethodPost, strings.NewReader(form)
	}
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, err
	}
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "host") {
			request.Host = value
		} else {
			request.Header.Add(name, value)
		}
	}
	address := request.URL.Host
	if request.URL.Port() == "" {
		address = net.JoinHostPort(request.URL.Hostname(), "80")
	}
	return &target{address: address, request: request, limit: limit}, nil
}
