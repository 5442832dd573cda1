"""The engine: moves tasks from a backend to an executor and their outcomes back. Knows only the ports.

One background loop per file (`fetching`, `settling`, `renewing`, `chores`, `cancelling`), all working on one `Flow`,
which holds the tasks in hand; `engine.Engine` starts the loops, watches them and drains.
"""
