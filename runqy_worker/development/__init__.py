"""What `runqy-worker dev` and the demo need to run everything on one machine. Not for production."""
