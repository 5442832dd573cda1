"""What is happening: events become log lines, counts, heartbeats and figures. Listens; is never called into."""
