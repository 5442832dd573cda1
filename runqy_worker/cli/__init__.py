"""The doors: one module per subcommand, and the place that wires everything together."""
