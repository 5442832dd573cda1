package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

// order is what a payload may ask of the server.
type order struct {
	Result string `json:"result"` // written as the task's result
	Fail   string `json:"fail"`   // the attempt fails with this text
	Skip   bool   `json:"skip"`   // ... and is not retried
	Hang   bool   `json:"hang"`   // runs until it is cancelled or the process is killed
}

// runServer prints one JSON line per attempt as it begins, and ends after --count attempts (0: when it is killed).
func runServer(args []string) (any, error) {
	flags := flag.NewFlagSet("run-server", flag.ExitOnError)
	addr := flags.String("redis", "", "host:port")
	queue := flags.String("queue", "default", "queue")
	count := flags.Int("count", 0, "attempts")
	limit := flags.Duration("limit", 30*time.Second, "give up after")
	concurrency := flags.Int("concurrency", 1, "concurrency")
	_ = flags.Parse(args)

	var mutex sync.Mutex
	begun, ended := 0, 0
	enough := make(chan struct{})
	encoder := json.NewEncoder(os.Stdout)
	handle := func(ctx context.Context, task *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		retried, _ := asynq.GetRetryCount(ctx)
		mutex.Lock()
		begun++
		_ = encoder.Encode(map[string]any{
			"id": id, "type": task.Type(), "payload": string(task.Payload()), "headers": task.Headers(), "retried": retried,
		})
		mutex.Unlock()
		defer func() {
			mutex.Lock()
			defer mutex.Unlock()
			if ended++; ended == *count {
				close(enough)
			}
		}()
		var wish order
		_ = json.Unmarshal(task.Payload(), &wish)
		if wish.Hang {
			<-ctx.Done()
			return ctx.Err()
		}
		if wish.Result != "" {
			if _, err := task.ResultWriter().Write([]byte(wish.Result)); err != nil {
				return err
			}
		}
		if wish.Fail != "" {
			err := errors.New(wish.Fail)
			if wish.Skip {
				return errors.Join(err, asynq.SkipRetry)
			}
			return err
		}
		return nil
	}
	server := asynq.NewServer(asynq.RedisClientOpt{Addr: *addr}, asynq.Config{
		Concurrency:              *concurrency,
		Queues:                   map[string]int{*queue: 1},
		LogLevel:                 asynq.FatalLevel,
		TaskCheckInterval:        100 * time.Millisecond,
		DelayedTaskCheckInterval: 200 * time.Millisecond,
	})
	if err := server.Start(asynq.HandlerFunc(handle)); err != nil {
		return nil, err
	}
	select {
	case <-enough:
	case <-time.After(*limit):
		server.Shutdown()
		return nil, errors.New("the limit was reached")
	}
	server.Shutdown()
	mutex.Lock()
	defer mutex.Unlock()
	return map[string]int{"begun": begun, "ended": ended}, nil
}
