"""The variables by which an MPI launcher tells a rank its number, which tasks must not see.

A program that finds them takes itself for that rank.  So an ``mpiexec`` in a task fails or asks
the wrong launcher, and an MPI library that a task loads waits for ranks that never call.
"""

from __future__ import annotations

from collections.abc import MutableMapping

BEGIN_SO = (
    "PMI_", "PMI2_", "PMIX_",
    "HYDI_", "HYDRA_PROXY",  # MPICH, Intel MPI
    "OMPI_COMM_WORLD_", "OMPI_MCA_ess_base_", "OMPI_MCA_orte_ess_",  # Open MPI
    "MV2_COMM_WORLD_",  # MVAPICH
    "SLURM_STEP_", "SLURM_PMI", "SLURM_SRUN_COMM_", "SLURM_TOPOLOGY_ADDR",
)  # fmt: skip
NAMES = frozenset({
    "MPI_LOCALNRANKS", "MPI_LOCALRANKID", "MPIR_CVAR_CH3_INTERFACE_HOSTNAME",
    "HYDRA_LAUNCHER_RANK",
    "OMPI_APP_CTX_NUM_PROCS", "OMPI_ARGV", "OMPI_COMMAND", "OMPI_FILE_LOCATION",
    "OMPI_FIRST_RANKS", "OMPI_LAUNCHED", "OMPI_NUM_APP_CTX", "OMPI_UNIVERSE_SIZE",
    "PRTE_LAUNCHED",
    "OMPI_MCA_ess", "OMPI_MCA_initial_wdir", "OMPI_MCA_mpi_oversubscribe", "OMPI_MCA_pmix",
    "OMPI_MCA_shmem_RUNTIME_QUERY_hint", "OMPI_MCA_orte_app_num", "OMPI_MCA_orte_bound_at_launch",
    "OMPI_MCA_orte_hnp_uri", "OMPI_MCA_orte_launch",
    "OMPI_MCA_orte_local_daemon_uri", "OMPI_MCA_orte_num_nodes",
    "OMPI_MCA_orte_precondition_transports",
    "PALS_RANKID", "PALS_LOCAL_RANKID", "PALS_NODEID", "PALS_FD", "PALS_SPOOL_DIR",
    "PALS_STARTUP_BARRIER", "PALS_APINFO",  # Cray
    "FLUX_TASK_RANK", "FLUX_TASK_LOCAL_ID", "ALPS_APP_PE", "JSM_NAMESPACE_RANK",
    "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_TASK_PID", "SLURM_GTIDS",
    "SLURM_STEPID", "SLURM_LAUNCH_NODE_IPADDR", "SLURM_MPI_TYPE",
})  # fmt: skip
"""Variables of one rank or step.  Those of the job or its user stay."""


def forget_rank(environment: MutableMapping[str, str]) -> None:
    """Remove the variables that say that this is a rank of a launcher."""
    for name in [name for name in environment if _is_of_rank(name)]:
        del environment[name]


def _is_of_rank(name: str) -> bool:
    if name == "SLURM_STEP_GPUS":  # it says which devices there are, also for later nodes
        return False
    if name.startswith("OMPI_MCA_orte_") and name.endswith("_session_dir"):
        return True
    return name in NAMES or name.startswith(BEGIN_SO)
