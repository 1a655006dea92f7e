"""The supervisor of one host's workers, its zygote, and the probe of the machine."""
