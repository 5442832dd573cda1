"""runqy-worker: takes tasks from a queue, runs them in supervised processes, never loses one."""
