"""Batches of messages, over three wires."""
