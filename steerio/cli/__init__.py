"""The command line: ``steerio run``, ``broker``, ``worker``, ``nodes``, ``status``, ``stop``."""
