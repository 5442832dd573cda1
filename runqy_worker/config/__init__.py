"""The configuration: its model, and loading it from files, environment, credentials and flags."""
