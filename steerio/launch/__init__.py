"""Starts brokers and nodes: on this machine, as MPI ranks, or joining a running broker."""
