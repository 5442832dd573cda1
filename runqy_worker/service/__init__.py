"""A good citizen of the host: exit codes, signals, build information."""
