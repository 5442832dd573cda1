"""Where tasks run: supervised processes that speak JSON lines, kept alive or started afresh for each task."""
