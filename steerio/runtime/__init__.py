"""Performs what the core decides: the broker, its drivers, and the client."""
