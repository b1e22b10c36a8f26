package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What all clients can be told.
type options struct {
	flags    *flag.FlagSet
	headers  headers
	method   string
	form     string
	limit    time.Duration
	roots    string
	protocol string
}

func clientOptions(name string) *options {
	o := &options{flags: flag.NewFlagSet(name, flag.ExitOnError)}
	o.flags.Var(&o.headers, "header", "`Name: value`, may be repeated; Host too")
	o.flags.StringVar(&o.method, "method", "GET", "of a request without -form")
	o.flags.StringVar(&o.form, "form", "", "the body of a POST, form-encoded")
	o.flags.DurationVar(&o.limit, "limit", 10*time.Second, "for one request")
	o.flags.StringVar(&o.roots, "roots", "", "for https: certificates in PEM of who vouches for the Host")
	o.flags.StringVar(&o.protocol, "protocol", "", "for https: h2 or http/1.1 alone")
	return o
}

// get makes one request and says what it got.
func get(arguments []string) error {
	o := clientOptions("get")
	_ = o.flags.Parse(arguments)
	target, err := o.newTarget(o.flags.Arg(0))
	if err != nil {
		return err
	}
	got, err := (&connection{target: target}).call()
	if err != nil {
		return err
	}
	return say(got)
}

// until asks every URL again and again, each on its own, and says when, in nanoseconds since 1970, each first answered with
// the status that is waited for. It says "watching" once each has answered once.
func until(arguments []string) error {
	o := clientOptions("until")
	status := o.flags.Int("status", 200, "what to wait for")
	every := o.flags.Duration("every", 2*time.Millisecond, "pause between two requests to a URL")
	within := o.flags.Duration("within", time.Minute, "when to give up")
	_ = o.flags.Parse(arguments)
	urls := o.flags.Args()
	end := time.Now().Add(*within)
	seen := make([]int64, len(urls))
	errs := make([]error, len(urls))
	var first, all sync.WaitGroup
	for i, url := range urls {
		target, err := o.newTarget(url)
		if err != nil {
			return err
		}
		first.Add(1)
		all.Go(func() {
			connection := &connection{target: target}
			for round := 0; ; round++ {
				got, err := connection.call()
				last := got.status()
				now := time.Now()
				if round == 0 {
					first.Done()
				}
				if last == *status {
					seen[i] = now.UnixNano()
					return
				}
				if now.After(end) {
					errs[i] = fmt.Errorf("%s: last %d, %v", target.request.URL, last, err)
					return
				}
				time.Sleep(*every)
			}
		})
	}
	first.Wait()
	fmt.Println("watching")
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return say(seen)
}

// load calls a URL until SIGTERM, half of its clients on a connection that is kept, half on a new one for every request.
// It says its counts every half second, and the first failures as they come.
func load(arguments []string) error {
	o := clientOptions("load")
	clients := o.flags.Int("clients", 4, "how many at once")
	every := o.flags.Duration("every", 10*time.Millisecond, "pause of a client between two requests")
	_ = o.flags.Parse(arguments)
	target, err := o.newTarget(o.flags.Arg(0))
	if err != nil {
		return err
	}
	var sent, failed atomic.Int64
	for number := range *clients {
		go func() {
			connection := &connection{target: target}
			for {
				got, err := connection.call()
				sent.Add(1)
				if got.status() != 200 {
					if failed.Add(1) <= 20 {
						text := fmt.Sprint(err)
						if err == nil {
							text = got.Body
						}
						_ = say(map[string]any{
							"failure": text, "status": got.status(), "at": time.Now().Format(time.RFC3339Nano), "keeps": number%2 == 0,
						})
					}
				}
				if number%2 == 1 {
					connection.close()
				}
				time.Sleep(*every)
			}
		}()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	ticks := time.NewTicker(500 * time.Millisecond)
	for {
		select {
		case <-ticks.C:
			_ = say(map[string]any{"sent": sent.Load(), "failed": failed.Load()})
		case <-signals:
			return nil
		}
	}
}
