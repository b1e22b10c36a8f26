package main

import (
	"os"
	"os/signal"
	"syscall"
)

// idle waits for the signal that ends it.
func idle([]string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	return nil
}

// pause is idle that also buries orphans: it may be the first process of a pid namespace that containers share.
func pause(arguments []string) error {
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, syscall.SIGCHLD)
	go func() {
		for range orphans {
			for {
				if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}()
	return idle(arguments)
}
