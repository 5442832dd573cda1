"""The composition root: `Worker` puts the parts together. The command line and the library both enter here.

`lane` is one parent queue's way through the house, `lane_releases` what it deploys and runs, `parts` builds what it is
made of, and `loading` imports that while the deploy's commands run; `worker` runs the lanes side by side, `deploys`
changes their releases, `reconfiguring` their settings, `beats` tells the registry, and `mailbox` takes calls from other
threads. `control` answers who asks over the control socket, with what `state` knows.
"""
