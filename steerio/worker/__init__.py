"""Nodes and workers: the processes that run tasks, and what keeps them alive or ends them."""
