"""Where tasks live: one package per system, and a double in memory for tests."""
