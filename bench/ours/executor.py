"""An executor of steerio in a program without a loop, in the rounds of `bench.floors.pool`.

`python -m bench.ours.executor CONTROL_FD`
"""

from __future__ import annotations

import sys
from functools import partial

import steerio
from bench.contestant import serve
from bench.floors.pool import WORKERS, at_once


def main() -> None:
    """Start the executor and obey orders until there are no more."""
    control_fd = int(sys.argv[1])
    with steerio.open_executor(steerio.open_session(workers=WORKERS)) as executor:
        serve(control_fd, {"at_once": partial(at_once, executor)})


if __name__ == "__main__":
    main()
