"""The command line: ``steerio run``, ``broker``, ``worker``, ``nodes``, ``status`` and so on."""
