"""The composition root: `Worker` puts the parts together. The command line and the library both enter here.

`lane` is one parent queue's way through the house, `parts` builds what it is made of, and `loading` imports that while
the deploy's commands run; `worker` runs the lanes side by side, `beats` tells the registry, and `mailbox` takes calls
from other threads.
"""
