// The program in the pods of the cluster tests: one static binary that is the API behind the gateway, the clients in front
// of it, and the first process of every pod of the tests' own cluster.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{
		"echo":  echo,  // an API that says what it was asked
		"get":   get,   // one request
		"idle":  idle,  // nothing: a place to run the others in
		"load":  load,  // requests without end
		"pause": pause, // holds a pod's namespaces
		"until": until, // waits until addresses answer as told
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: pod echo|get|idle|load|pause|until …")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// say writes one line of JSON, which is how the tests read all of these.
func say(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}
