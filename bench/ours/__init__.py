"""steerio's side of each comparison."""
