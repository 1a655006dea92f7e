"""``python -m steerio``: the command line."""

from steerio.cli.main import main

if __name__ == "__main__":
    main()
