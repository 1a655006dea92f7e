"""The ``steerio`` command, also as ``python -m steerio``."""

from steerio.cli.loading import uncollected

with uncollected():
    from steerio.cli.main import main

if __name__ == "__main__":
    main()
