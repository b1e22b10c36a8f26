package main

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// echo answers every request with what it was, and who answers. A path that ends in /healthz is for probes.
//
// On SIGTERM it goes on for a while, as a server behind a Service has to: others hear of its end later than it does.
func echo(arguments []string) error {
	flags := flag.NewFlagSet("echo", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "address")
	message := flags.String("message", "", "something to tell versions apart by")
	drain := flags.Duration("drain", 5*time.Second, "how long to go on after SIGTERM")
	_ = flags.Parse(arguments)
	name, _ := os.Hostname()

	var ending atomic.Bool
	handler := func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Content-Type", "application/json")
		if ending.Load() {
			// Said before it is done: closing a connection that is idle just now may meet a request on its way.
			writer.Header().Set("Connection", "close")
		}
		_ = json.NewEncoder(writer).Encode(map[string]any{
			"pod": name, "message": *message, "method": request.Method, "host": request.Host,
			"path": request.URL.RequestURI(), "headers": request.Header,
		})
	}
	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(handler), ReadHeaderTimeout: time.Minute}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	finished := make(chan error, 1)
	go func() {
		<-signals
		ending.Store(true)
		time.Sleep(*drain)
		finished <- server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return <-finished
}
