"""The command line: ``steerio run``, ``broker``, ``worker``, ``status``, ``stop``."""
