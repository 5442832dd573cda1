"""The doors: one module per subcommand, and what their parsers share. `main` finds the one that is asked for."""
