"""The vocabulary: tasks, outcomes, queue names, errors, events, and the ports. Pure: no I/O."""
