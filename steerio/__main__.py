"""The ``steerio`` command, also as ``python -m steerio``."""

from steerio.cli.uncollected import uncollected

with uncollected():
    from steerio.cli.commands import main

if __name__ == "__main__":
    main()
