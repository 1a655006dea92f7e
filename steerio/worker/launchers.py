"""The variables by which an MPI launcher tells a rank who it is: they are not for its tasks.

A program that finds them takes itself for that rank.  So an ``mpiexec`` in a task fails or asks
the wrong launcher, and an MPI library that a task loads waits for ranks that never call.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping

OF_RANK = re.compile(
    r"PMI_.*|PMI2_.*|PMIX_.*|MPI_LOCAL(NRANKS|RANKID)|MPIR_CVAR_CH3_INTERFACE_HOSTNAME"  # PMI
    r"|HYDI_.*|HYDRA_(LAUNCHER_RANK|PROXY.*)"  # MPICH, Intel MPI
    r"|OMPI_COMM_WORLD_.*|OMPI_(APP_CTX_NUM_PROCS|ARGV|COMMAND|FILE_LOCATION|FIRST_RANKS)"
    r"|OMPI_(LAUNCHED|NUM_APP_CTX|UNIVERSE_SIZE)|PRTE_LAUNCHED"  # Open MPI
    r"|OMPI_MCA_(ess|ess_base_.*|initial_wdir|mpi_oversubscribe|pmix|shmem_RUNTIME_QUERY_hint)"
    r"|OMPI_MCA_orte_(app_num|bound_at_launch|ess_.*|hnp_uri|jobfam_session_dir|launch)"
    r"|OMPI_MCA_orte_(local_daemon_uri|num_nodes|precondition_transports|.*_session_dir)"
    r"|MV2_COMM_WORLD_.*"  # MVAPICH
    r"|PALS_(RANKID|LOCAL_RANKID|NODEID|FD|SPOOL_DIR|STARTUP_BARRIER|APINFO)"  # Cray
    r"|FLUX_TASK_(RANK|LOCAL_ID)"
    r"|SLURM_(PROCID|LOCALID|NODEID|TASK_PID|GTIDS|STEPID|STEP_.*|PMI.*|SRUN_COMM_.*)"
    r"|SLURM_(LAUNCH_NODE_IPADDR|MPI_TYPE|TOPOLOGY_ADDR.*)"
)
"""What belongs to one rank or step.  What belongs to the job or to its user stays."""


def forget_rank(environment: MutableMapping[str, str]) -> None:
    """Remove what says that this is a rank of a launcher."""
    for name in [name for name in environment if OF_RANK.fullmatch(name)]:
        del environment[name]
