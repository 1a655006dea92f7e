"""The ranks of a launcher that starts ``steerio run``: rank 0 steers, the others become nodes.

They do so before anything of a campaign is loaded: only rank 0 needs that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from steerio.errors import UsageError
from steerio.launch.mpi import Followers, lead_ranks
from steerio.launch.ranks import find_rank


@contextlib.contextmanager
def leading(given: dict[str, Any], run_dir: str | None) -> Generator[Followers | None, None, None]:
    """Be rank 0, or the only process; another rank never gets beyond this.

    Args:
        given: the options of ``run`` or ``resume`` on the command line.
        run_dir: of the campaign, if it is named.

    Raises:
        UsageError: as from `lead_ranks`, or this is a rank and the options name a broker to join.
    """
    if given["join"] is None:
        with lead_ranks(run_dir, given["mpi"], given["rendezvous"]) as followers:
            yield followers
    elif find_rank(given["mpi"]) is not None:
        raise UsageError(
            "--join takes one process: leave out the MPI launcher, or say --no-mpi if this is "
            "no rank of one"
        )
    else:
        yield None
