"""The worker process, which runs tasks one after the other."""
