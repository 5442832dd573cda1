package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

// order is what a payload may ask of the server.
type order struct {
	Result string `json:"result"` // written as the task's result
	Fail   string `json:"fail"`   // the attempt fails with this text
	Skip   bool   `json:"skip"`   // ... and is not retried
	Hang   bool   `json:"hang"`   // runs until it is cancelled or the process is killed

	Sleep    float64         `json:"sleep"`          // seconds to run
	Until    string          `json:"go_until"`       // a file to wait for
	First    string          `json:"go_until_first"` // likewise, but only the first attempt waits
	FailOnce bool            `json:"fail_once"`      // the first attempt fails
	Say      json.RawMessage `json:"say"`            // JSON to write as the task's result, if Result is empty
}

// wait is the time that the order takes; it ends early when the context does.
func (o order) wait(ctx context.Context) error {
	pause := func(length time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(length):
			return nil
		}
	}
	if o.Hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if o.Sleep > 0 {
		if err := pause(time.Duration(o.Sleep * float64(time.Second))); err != nil {
			return err
		}
	}
	for o.Until != "" {
		if _, err := os.Stat(o.Until); err == nil {
			break
		}
		if err := pause(10 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// runServer prints one JSON line per attempt as it begins, and ends after --count attempts or at a SIGTERM.
// With --runs it writes "<id> <pid> <ppid>" to that file instead, as the task code of the tests does.
func runServer(args []string) (any, error) {
	flags := flag.NewFlagSet("run-server", flag.ExitOnError)
	addr := flags.String("redis", "", "host:port")
	queue := flags.String("queue", "default", "queue")
	count := flags.Int("count", 0, "attempts")
	limit := flags.Duration("limit", 30*time.Second, "give up after")
	concurrency := flags.Int("concurrency", 1, "concurrency")
	runs := flags.String("runs", "", "append a line per attempt to this file and print nothing")
	retryDelay := flags.Duration("retry-delay", -1, "what a failed task waits; asynq's own when negative")
	shutdown := flags.Duration("shutdown", 8*time.Second, "what running tasks get at a SIGTERM")
	_ = flags.Parse(args)

	var mutex sync.Mutex
	begun, ended := 0, 0
	enough := make(chan struct{})
	encoder := json.NewEncoder(os.Stdout)
	tell := func(id string, task *asynq.Task, retried int) {
		_ = encoder.Encode(map[string]any{
			"id": id, "type": task.Type(), "payload": string(task.Payload()), "headers": task.Headers(), "retried": retried,
		})
	}
	if *runs != "" {
		file, err := os.OpenFile(*runs, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		tell = func(id string, _ *asynq.Task, _ int) {
			_, _ = fmt.Fprintf(file, "%s %d %d\n", id, os.Getpid(), os.Getppid())
		}
	}
	handle := func(ctx context.Context, task *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		retried, _ := asynq.GetRetryCount(ctx)
		mutex.Lock()
		begun++
		tell(id, task, retried)
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
		if wish.First != "" && retried == 0 {
			wish.Until = wish.First
		}
		if err := wish.wait(ctx); err != nil {
			return err
		}
		if len(wish.Say) > 0 && wish.Result == "" {
			wish.Result = string(wish.Say)
		}
		if wish.Result != "" {
			if _, err := task.ResultWriter().Write([]byte(wish.Result)); err != nil {
				return err
			}
		}
		if wish.FailOnce && retried == 0 {
			return errors.New("it fails once")
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
	config := asynq.Config{
		Concurrency:              *concurrency,
		Queues:                   map[string]int{*queue: 1},
		LogLevel:                 asynq.FatalLevel,
		TaskCheckInterval:        100 * time.Millisecond,
		DelayedTaskCheckInterval: 200 * time.Millisecond,
		ShutdownTimeout:          *shutdown,
	}
	if *retryDelay >= 0 {
		config.RetryDelayFunc = func(int, error, *asynq.Task) time.Duration { return *retryDelay }
	}
	server := asynq.NewServer(asynq.RedisClientOpt{Addr: *addr}, config)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if err := server.Start(asynq.HandlerFunc(handle)); err != nil {
		return nil, err
	}
	select {
	case <-enough:
	case <-stop:
	case <-time.After(*limit):
		server.Shutdown()
		return nil, errors.New("the limit was reached")
	}
	server.Shutdown()
	mutex.Lock()
	defer mutex.Unlock()
	return map[string]int{"begun": begun, "ended": ended}, nil
}
