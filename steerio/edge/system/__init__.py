"""Processes, threads, descriptors and files of this machine."""
