package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
)

func describe(info *asynq.TaskInfo) map[string]any {
	return map[string]any{
		"id":              info.ID,
		"queue":           info.Queue,
		"type":            info.Type,
		"payload":         string(info.Payload),
		"headers":         info.Headers,
		"state":           info.State.String(),
		"max_retry":       info.MaxRetry,
		"retried":         info.Retried,
		"last_err":        info.LastErr,
		"last_failed_at":  seconds(info.LastFailedAt),
		"timeout":         info.Timeout.Seconds(),
		"deadline":        seconds(info.Deadline),
		"group":           info.Group,
		"next_process_at": seconds(info.NextProcessAt),
		"is_orphaned":     info.IsOrphaned,
		"retention":       info.Retention.Seconds(),
		"completed_at":    seconds(info.CompletedAt),
		"result":          string(info.Result),
	}
}

func seconds(moment time.Time) int64 {
	if moment.IsZero() {
		return 0
	}
	return moment.Unix()
}

// target parses what every inspecting command takes, and connects.
func target(name string, args []string) (*asynq.Inspector, string, string, string) {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	addr := flags.String("redis", "", "host:port")
	queue := flags.String("queue", "default", "queue")
	id := flags.String("id", "", "task id")
	state := flags.String("state", "pending", "state to list, or group=NAME")
	_ = flags.Parse(args)
	return asynq.NewInspector(asynq.RedisClientOpt{Addr: *addr}), *queue, *id, *state
}

func showTask(args []string) (any, error) {
	inspector, queue, id, _ := target("task", args)
	defer inspector.Close()
	info, err := inspector.GetTaskInfo(queue, id)
	if err != nil {
		return nil, err
	}
	return describe(info), nil
}

func listTasks(args []string) (any, error) {
	inspector, queue, _, state := target("list", args)
	defer inspector.Close()
	listers := map[string]func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
		"pending":   inspector.ListPendingTasks,
		"active":    inspector.ListActiveTasks,
		"scheduled": inspector.ListScheduledTasks,
		"retry":     inspector.ListRetryTasks,
		"archived":  inspector.ListArchivedTasks,
		"completed": inspector.ListCompletedTasks,
	}
	var tasks []*asynq.TaskInfo
	var err error
	if lister := listers[state]; lister != nil {
		tasks, err = lister(queue, asynq.PageSize(1000))
	} else if len(state) > 6 && state[:6] == "group=" {
		tasks, err = inspector.ListAggregatingTasks(queue, state[6:], asynq.PageSize(1000))
	} else {
		err = fmt.Errorf("unknown state %q", state)
	}
	if err != nil {
		return nil, err
	}
	described := []any{}
	for _, task := range tasks {
		described = append(described, describe(task))
	}
	return described, nil
}

func describeQueue(inspector *asynq.Inspector, queue string) (any, error) {
	info, err := inspector.GetQueueInfo(queue)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"queue":           info.Queue,
		"latency":         info.Latency.Seconds(),
		"size":            info.Size,
		"groups":          info.Groups,
		"pending":         info.Pending,
		"active":          info.Active,
		"scheduled":       info.Scheduled,
		"retry":           info.Retry,
		"archived":        info.Archived,
		"completed":       info.Completed,
		"aggregating":     info.Aggregating,
		"processed":       info.Processed,
		"failed":          info.Failed,
		"processed_total": info.ProcessedTotal,
		"failed_total":    info.FailedTotal,
		"paused":          info.Paused,
	}, nil
}

func showQueue(args []string) (any, error) {
	inspector, queue, _, _ := target("queue", args)
	defer inspector.Close()
	return describeQueue(inspector, queue)
}

func showQueues(args []string) (any, error) {
	inspector, _, _, _ := target("queues", args)
	defer inspector.Close()
	return inspector.Queues()
}

func showServers(args []string) (any, error) {
	inspector, _, _, _ := target("servers", args)
	defer inspector.Close()
	servers, err := inspector.Servers()
	if err != nil {
		return nil, err
	}
	described := []any{}
	for _, server := range servers {
		workers := []any{}
		for _, worker := range server.ActiveWorkers {
			workers = append(workers, map[string]any{
				"task_id":  worker.TaskID,
				"type":     worker.TaskType,
				"payload":  string(worker.TaskPayload),
				"queue":    worker.Queue,
				"started":  seconds(worker.Started),
				"deadline": seconds(worker.Deadline),
			})
		}
		described = append(described, map[string]any{
			"id":              server.ID,
			"host":            server.Host,
			"pid":             server.PID,
			"concurrency":     server.Concurrency,
			"queues":          server.Queues,
			"strict_priority": server.StrictPriority,
			"started":         seconds(server.Started),
			"status":          server.Status,
			"workers":         workers,
		})
	}
	return described, nil
}

func done(err error) (any, error) {
	return map[string]bool{"ok": err == nil}, err
}

func pause(args []string) (any, error) {
	inspector, queue, _, _ := target("pause", args)
	defer inspector.Close()
	return done(inspector.PauseQueue(queue))
}

func unpause(args []string) (any, error) {
	inspector, queue, _, _ := target("unpause", args)
	defer inspector.Close()
	return done(inspector.UnpauseQueue(queue))
}

func runTask(args []string) (any, error) {
	inspector, queue, id, _ := target("run", args)
	defer inspector.Close()
	return done(inspector.RunTask(queue, id))
}

func archiveTask(args []string) (any, error) {
	inspector, queue, id, _ := target("archive", args)
	defer inspector.Close()
	return done(inspector.ArchiveTask(queue, id))
}

func deleteTask(args []string) (any, error) {
	inspector, queue, id, _ := target("delete", args)
	defer inspector.Close()
	return done(inspector.DeleteTask(queue, id))
}

func cancelTask(args []string) (any, error) {
	inspector, _, id, _ := target("cancel", args)
	defer inspector.Close()
	return done(inspector.CancelProcessing(id))
}
