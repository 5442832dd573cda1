package main

import (
	"flag"
	"time"

	"github.com/hibiken/asynq"
)

// mapFlag collects repeated --header k=v.
type mapFlag map[string]string

func (m mapFlag) String() string { return "" }

func (m mapFlag) Set(text string) error {
	for i := range text {
		if text[i] == '=' {
			m[text[:i]] = text[i+1:]
			return nil
		}
	}
	m[text] = ""
	return nil
}

func enqueue(args []string) (any, error) {
	flags := flag.NewFlagSet("enqueue", flag.ExitOnError)
	addr := flags.String("redis", "", "host:port")
	queue := flags.String("queue", "default", "queue")
	typename := flags.String("type", "work", "task type")
	payload := flags.String("payload", "{}", "payload")
	id := flags.String("id", "", "task id")
	maxRetry := flags.Int("max-retry", -1, "retries")
	timeout := flags.Duration("timeout", 0, "timeout")
	deadline := flags.Int64("deadline", 0, "unix seconds")
	retention := flags.Duration("retention", 0, "retention")
	unique := flags.Duration("unique", 0, "unique TTL")
	group := flags.String("group", "", "group")
	delay := flags.Duration("in", 0, "process in")
	count := flags.Int("count", 1, "how many")
	headers := mapFlag{}
	flags.Var(headers, "header", "k=v, repeated")
	_ = flags.Parse(args)

	opts := []asynq.Option{asynq.Queue(*queue)}
	if *id != "" {
		opts = append(opts, asynq.TaskID(*id))
	}
	if *maxRetry >= 0 {
		opts = append(opts, asynq.MaxRetry(*maxRetry))
	}
	if *timeout > 0 {
		opts = append(opts, asynq.Timeout(*timeout))
	}
	if *deadline > 0 {
		opts = append(opts, asynq.Deadline(time.Unix(*deadline, 0)))
	}
	if *retention > 0 {
		opts = append(opts, asynq.Retention(*retention))
	}
	if *unique > 0 {
		opts = append(opts, asynq.Unique(*unique))
	}
	if *group != "" {
		opts = append(opts, asynq.Group(*group))
	}
	if *delay > 0 {
		opts = append(opts, asynq.ProcessIn(*delay))
	}
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: *addr})
	defer client.Close()
	tasks := []any{}
	for range *count {
		info, err := client.Enqueue(asynq.NewTaskWithHeaders(*typename, []byte(*payload), headers), opts...)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, describe(info))
	}
	return tasks, nil
}
