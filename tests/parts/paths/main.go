// Command paths answers every request with the paths that Go's net/http and path packages make of its target.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening on", listener.Addr())
	read := func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode([]string{path.Clean(r.URL.Path), path.Clean(r.URL.EscapedPath())})
	}
	if err := http.Serve(listener, http.HandlerFunc(read)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
