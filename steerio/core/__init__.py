"""All decisions, as pure functions of facts and the time they happened at.

Nothing here awaits, reads a clock, draws a random number, logs or does I/O.
"""
