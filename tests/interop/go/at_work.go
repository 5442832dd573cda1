package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/hibiken/asynq"
)

// deed is one thing that the inspector is asked to do.
type deed struct {
	Do string `json:"do"`
	ID string `json:"id"`
}

// inspectAtWork reads one deed per line from stdin and answers each with one line, until stdin ends.
func inspectAtWork(args []string) (any, error) {
	flags := flag.NewFlagSet("at-work", flag.ExitOnError)
	addr := flags.String("redis", "", "host:port")
	queue := flags.String("queue", "default", "queue")
	_ = flags.Parse(args)
	inspector := asynq.NewInspector(asynq.RedisClientOpt{Addr: *addr})
	defer inspector.Close()

	perform := func(what deed) error {
		switch what.Do {
		case "pause":
			return inspector.PauseQueue(*queue)
		case "unpause":
			return inspector.UnpauseQueue(*queue)
		case "run":
			return inspector.RunTask(*queue, what.ID)
		case "archive":
			return inspector.ArchiveTask(*queue, what.ID)
		case "delete":
			return inspector.DeleteTask(*queue, what.ID)
		case "cancel":
			return inspector.CancelProcessing(what.ID)
		}
		return fmt.Errorf("unknown deed %q", what.Do)
	}
	encoder := json.NewEncoder(os.Stdout)
	lines, done := bufio.NewScanner(os.Stdin), 0
	for lines.Scan() {
		var what deed
		if err := json.Unmarshal(lines.Bytes(), &what); err != nil {
			return nil, err
		}
		answer := map[string]string{}
		if err := perform(what); err != nil {
			answer["error"] = err.Error()
		} else {
			done++
		}
		if err := encoder.Encode(answer); err != nil {
			return nil, err
		}
	}
	return map[string]int{"done": done}, lines.Err()
}
