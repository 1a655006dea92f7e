"""Benchmarks: every figure is taken in the same run as the floor it is held against."""
