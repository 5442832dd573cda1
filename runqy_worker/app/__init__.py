"""The composition root: `Worker` puts the parts together. The command line and the library both enter here.

`lane` is one parent queue's way through the house; `worker` runs the lanes side by side and tells the registry.
"""
