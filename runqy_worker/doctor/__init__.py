"""`runqy-worker doctor`: looks at everything that a worker needs on its host, and says what to do about it.

Each check is a function of its own in `checks`, which takes a `Subject` and returns findings. Nothing is changed.
"""
