"""One view of a run, live and afterwards, from its record: accumulated, read, and asked."""
