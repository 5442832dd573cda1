// Command interop lets the tests ask the real asynq library to act on a Redis: one subcommand, one JSON document on stdout.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
)

var commands = map[string]func(args []string) (any, error){
	"enqueue":    enqueue,
	"task":       showTask,
	"list":       listTasks,
	"queue":      showQueue,
	"queues":     showQueues,
	"servers":    showServers,
	"pause":      pause,
	"unpause":    unpause,
	"run":        runTask,
	"archive":    archiveTask,
	"delete":     deleteTask,
	"cancel":     cancelTask,
	"run-server": runServer,
	"at-work":    inspectAtWork,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: %s %s\n", os.Args[0], strings.Join(names(), "|"))
		os.Exit(64)
	}
	answer, err := commands[os.Args[1]](os.Args[2:])
	if err != nil {
		answer = map[string]string{"error": err.Error()}
	}
	if encodeErr := json.NewEncoder(os.Stdout).Encode(answer); encodeErr != nil {
		fmt.Fprintln(os.Stderr, encodeErr)
		os.Exit(70)
	}
	if err != nil {
		os.Exit(1)
	}
}

func names() []string {
	var all []string
	for name := range commands {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}
