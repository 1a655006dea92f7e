"""Nodes and workers: the processes that run tasks, and those that keep them alive or end them."""
