"""Tasks in Redis, in asynq's wire format."""
