"""The supervisor of one host's workers, its zygote, and what it knows of the machine."""
