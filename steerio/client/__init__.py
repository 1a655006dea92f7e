"""One event loop's way to a broker."""
