"""Arguments, values and functions as bytes."""
