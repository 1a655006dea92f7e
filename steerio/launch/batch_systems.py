"""The batch systems: for each its commands, the answers to them, and the heads of its scripts.

Nothing here runs a command; see `batch_jobs`. Each command asks for all jobs at once, so that a
batch system has few questions to answer.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from steerio.errors import UsageError
from steerio.launch.walltime import parse_seconds

JobState = Literal["waiting", "running", "ended"]


class BatchJob(Struct, frozen=True):
    """The state of a job, and the reason for it in the batch system's words, if it has one."""

    state: JobState
    reason: str = ""


class Request(Struct, frozen=True, kw_only=True):
    """A wish for a job, one process of steerio on each of its nodes.

    Attributes:
        name: of the job.
        nodes: how many.
        walltime_s: how long, in seconds.
        output: the file of its output.
        queue, account: of the batch system; ``""``: its default.
        cpus: of each node; 0: the whole node.
        options: lines for the head of the script, as its batch system writes them.
    """

    name: str
    nodes: int
    walltime_s: float
    output: str
    queue: str = ""
    account: str = ""
    cpus: int = 0
    options: Sequence[str] = ()


class BatchSystem(Protocol):
    """The commands of a batch system, and how its answers are read."""

    name: str
    job_variable: str
    """The variable with the number of the job, in the job."""
    mark: str
    """The beginning of a line in the head of a script."""
    from_input: bool
    """Whether the command reads the script from its standard input."""

    def head(self, request: Request) -> list[str]:
        """Return the lines of the head of a script, without the mark."""
        ...

    def start(self, nodes: int) -> str:
        """Return the command that starts a program on each node of the job."""
        ...

    def submit(self, script: str) -> list[str]:
        """Return the command that submits a script; it is given one in a file."""
        ...

    def submitted(self, answer: str) -> str:
        """Return the number of the job, from the answer to that.

        Raises:
            ValueError: it has none.
        """
        ...

    def ask(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that asks for the state of jobs."""
        ...

    def states(self, answer: str) -> dict[str, BatchJob]:
        """Return the states of jobs from the answer to that; jobs that it knows no more are absent.

        Raises:
            ValueError: it cannot be read.
        """
        ...

    def cancel(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that cancels jobs."""
        ...

    def ask_left(self, job: str) -> list[str]:
        """Return the command that asks how long a job that runs has left."""
        ...

    def end(self, answer: str, now: float) -> float | None:
        """Return when that job ends, in Unix seconds; ``None``: it is not said.

        Raises:
            ValueError: the answer cannot be read.
        """
        ...


class Slurm:
    """Slurm, from version 20.02."""

    name = "slurm"
    job_variable = "SLURM_JOB_ID"
    mark = "#SBATCH "
    from_input = False
    _STATES: Mapping[str, JobState] = {
        **dict.fromkeys(
            ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD"),
            "waiting",
        ),
        **dict.fromkeys(("RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"), "running"),
    }

    def head(self, request: Request) -> list[str]:
        """Return the lines of the head of a script."""
        share = [f"--cpus-per-task={request.cpus}"] if request.cpus else ["--exclusive", "--mem=0"]
        return [
            f"--job-name={request.name}",
            f"--nodes={request.nodes}",
            "--ntasks-per-node=1",
            *share,
            f"--time={_clock(request.walltime_s)}",
            f"--output={request.output}",
            *([f"--partition={request.queue}"] if request.queue else []),
            *([f"--account={request.account}"] if request.account else []),
            *request.options,
        ]

    def start(self, nodes: int) -> str:
        """Return the command that starts a program on each node of the job."""
        # workers are pinned by steerio; a node that ends takes no other along
        return f"srun --nodes={nodes} --ntasks={nodes} --cpu-bind=none --kill-on-bad-exit=0"

    def submit(self, script: str) -> list[str]:
        """Return the command that submits a script."""
        return ["sbatch", "--parsable", script]

    def submitted(self, answer: str) -> str:
        """Return the number of the job: ``17``, or ``17;cluster``."""
        return _matched(r"(\d+)(?:;\S*)?", answer)

    def ask(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that asks for the state of jobs."""
        return [
            "squeue",
            "--noheader",
            "--states=all",
            f"--jobs={','.join(jobs)}",
            "--format=%i|%T|%r",
        ]

    def states(self, answer: str) -> dict[str, BatchJob]:
        """Return the states of jobs."""
        if "Invalid job id specified" in answer:  # of the only one, which it has forgotten
            return {}
        return _by_lines(answer, self._STATES)

    def cancel(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that cancels jobs."""
        return ["scancel", *jobs]

    def ask_left(self, job: str) -> list[str]:
        """Return the command that asks how long a job has left."""
        return ["squeue", "--noheader", f"--jobs={job}", "--format=%L"]

    def end(self, answer: str, now: float) -> float | None:
        """Return when that job ends, from ``1:30:00`` or ``UNLIMITED``."""
        said = answer.strip()
        return now + _seconds(said) if said[:1].isdecimal() else None


class PBS:
    """PBS Pro and OpenPBS, whose ``qstat`` writes JSON."""

    name = "pbs"
    job_variable = "PBS_JOBID"
    mark = "#PBS "
    from_input = False
    _STATES: Mapping[str, JobState] = {
        **dict.fromkeys("QHWTSB", "waiting"),
        **dict.fromkeys("RU", "running"),
        **dict.fromkeys("EFXMC", "ended"),
    }

    def head(self, request: Request) -> list[str]:
        """Return the lines of the head of a script."""
        cpus, place = (
            (f":ncpus={request.cpus}", "scatter") if request.cpus else ("", "scatter:excl")
        )
        return [
            f"-N {request.name}",
            f"-l select={request.nodes}{cpus}:mpiprocs=1",
            f"-l place={place}",
            f"-l walltime={_clock(request.walltime_s)}",
            "-j oe",
            f"-o {request.output}",
            *([f"-q {request.queue}"] if request.queue else []),
            *([f"-A {request.account}"] if request.account else []),
            *request.options,
        ]

    def start(self, nodes: int) -> str:
        """Return the command that starts a program on each node of the job."""
        return f"mpiexec -n {nodes} --ppn 1"  # of MPICH, and of Cray's PALS

    def submit(self, script: str) -> list[str]:
        """Return the command that submits a script."""
        return ["qsub", script]

    def submitted(self, answer: str) -> str:
        """Return the number of the job: ``17.server``."""
        return _matched(r"(\d+(?:\[\])?(?:\.\S+)?)", answer)

    def ask(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that asks for the state of jobs."""
        return ["qstat", "-x", "-f", "-F", "json", *jobs]

    def states(self, answer: str) -> dict[str, BatchJob]:
        """Return the states of jobs."""
        return {
            job: BatchJob(self._STATES.get(str(said.get("job_state")), "ended"), _text(said))
            for job, said in _jobs_of(answer).items()
        }

    def cancel(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that cancels jobs."""
        return ["qdel", *jobs]

    def ask_left(self, job: str) -> list[str]:
        """Return the command that asks when a job began, and how long it may run."""
        return ["qstat", "-f", "-F", "json", job]

    def end(self, answer: str, now: float) -> float | None:
        """Return when that job ends: its walltime after its start."""
        del now
        for said in _jobs_of(answer).values():
            walltime = said.get("Resource_List", {}).get("walltime")
            began = said.get("stime")
            if walltime and began:
                at = time.mktime(time.strptime(began, "%a %b %d %H:%M:%S %Y"))
                return at + _seconds(walltime)
        return None


class LSF:
    """IBM Spectrum LSF, from version 10.1."""

    name = "lsf"
    job_variable = "LSB_JOBID"
    mark = "#BSUB "
    from_input = True
    _STATES: Mapping[str, JobState] = {
        **dict.fromkeys(("PEND", "PSUSP", "WAIT", "PROV"), "waiting"),
        **dict.fromkeys(("RUN", "USUSP", "SSUSP", "UNKWN"), "running"),
    }

    def head(self, request: Request) -> list[str]:
        """Return the lines of the head of a script."""
        minutes = int(-(-request.walltime_s // 60))
        share = [f'-R "affinity[core({request.cpus})]"'] if request.cpus else ["-x"]
        return [
            f"-J {request.name}",
            f"-n {request.nodes}",
            '-R "span[ptile=1]"',
            *share,
            f"-W {minutes // 60}:{minutes % 60:02}",
            f"-o {request.output}",
            *([f"-q {request.queue}"] if request.queue else []),
            *([f"-P {request.account}"] if request.account else []),
            *request.options,
        ]

    def start(self, nodes: int) -> str:
        """Return the command that starts a program on each node of the job."""
        del nodes  # LSF knows
        return 'blaunch -z "$LSB_HOSTS"'

    def submit(self, script: str) -> list[str]:
        """Return the command that submits a script, which it reads from its input."""
        del script
        return ["bsub"]

    def submitted(self, answer: str) -> str:
        """Return the number of the job: ``Job <17> is submitted to queue <normal>.``."""
        return _matched(r"Job <(\d+)> is submitted.*", answer)

    def ask(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that asks for the state of jobs."""
        return ["bjobs", "-noheader", "-a", "-o", "jobid stat pend_reason delimiter='|'", *jobs]

    def states(self, answer: str) -> dict[str, BatchJob]:
        """Return the states of jobs."""
        return _by_lines(answer, self._STATES)

    def cancel(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that cancels jobs."""
        return ["bkill", *jobs]

    def ask_left(self, job: str) -> list[str]:
        """Return the command that asks how long a job has left."""
        return ["bjobs", "-noheader", "-o", "time_left", job]

    def end(self, answer: str, now: float) -> float | None:
        """Return when that job ends, from ``1:30 L``, in hours and minutes, or ``-``."""
        found = re.match(r"\s*(\d+):(\d+)\b", answer)
        return now + (int(found[1]) * 60 + int(found[2])) * 60 if found is not None else None


class Flux:
    """Flux, from version 0.50."""

    name = "flux"
    job_variable = "FLUX_JOB_ID"
    mark = "# flux: "
    from_input = False
    _STATES: Mapping[str, JobState] = {
        **dict.fromkeys(("DEPEND", "PRIORITY", "SCHED", "NEW"), "waiting"),
        "RUN": "running",
    }

    def head(self, request: Request) -> list[str]:
        """Return the lines of the head of a script."""
        share = f"--cores-per-slot={request.cpus}" if request.cpus else "--exclusive"
        return [
            f"--job-name={request.name}",
            f"--nodes={request.nodes}",
            f"--nslots={request.nodes}",
            share,
            f"--time-limit={request.walltime_s:g}s",
            f"--output={request.output}",
            *([f"--queue={request.queue}"] if request.queue else []),
            *([f"--bank={request.account}"] if request.account else []),
            *request.options,
        ]

    def start(self, nodes: int) -> str:
        """Return the command that starts a program on each node of the job."""
        return f"flux run --nodes={nodes} --ntasks={nodes} --exclusive"

    def submit(self, script: str) -> list[str]:
        """Return the command that submits a script."""
        return ["flux", "batch", script]

    def submitted(self, answer: str) -> str:
        """Return the number of the job, as Flux writes it: ``ƒ2vYxRd7``."""
        return _matched(r"([fƒ][1-9A-HJ-NP-Za-km-z]+)", answer)

    def ask(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that asks for the state of jobs."""
        return ["flux", "jobs", "--no-header", "--format={id.f58}|{state}|{exception.note}", *jobs]

    def states(self, answer: str) -> dict[str, BatchJob]:
        """Return the states of jobs."""
        return _by_lines(answer, self._STATES)

    def cancel(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that cancels jobs."""
        return ["flux", "cancel", *jobs]

    def ask_left(self, job: str) -> list[str]:
        """Return the command that asks how long a job has left."""
        return ["flux", "job", "timeleft", job]

    def end(self, answer: str, now: float) -> float | None:
        """Return when that job ends, from a number of seconds, or ``infinity``."""
        said = answer.strip()
        return now + float(said) if re.fullmatch(r"\d+(\.\d+)?", said) else None


SYSTEMS: Mapping[str, BatchSystem] = {each.name: each for each in (Slurm(), PBS(), LSF(), Flux())}
"""All of them, by name."""


def batch_system(name: str) -> BatchSystem:
    """Return the batch system of a name.

    Raises:
        UsageError: there is none of it.
    """
    found = SYSTEMS.get(name)
    if found is None:
        raise UsageError(f"{name!r} is no batch system: say one of {', '.join(SYSTEMS)}")
    return found


def _clock(seconds: float) -> str:
    whole = int(-(-seconds // 1))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _seconds(said: str) -> float:
    try:
        return parse_seconds(said)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _matched(pattern: str, answer: str) -> str:
    """Return the number of a job in the last line that has one; others are of prologues."""
    for line in reversed(answer.splitlines()):
        found = re.fullmatch(pattern, line.strip())
        if found is not None:
            return found[1]
    raise ValueError("it names no job")


def _by_lines(answer: str, states: Mapping[str, JobState]) -> dict[str, BatchJob]:
    """Read lines of a job, its state and a reason; a state that is none of these has ended."""
    found: dict[str, BatchJob] = {}
    for line in answer.splitlines():
        fields = line.strip().split("|", 2)
        if len(fields) == 3:
            job, state, reason = fields
            found[job] = BatchJob(
                states.get(state, "ended"), "" if reason in ("None", "-") else reason
            )
    return found


def _jobs_of(answer: str) -> dict[str, dict[str, Any]]:
    """Return the jobs of PBS's JSON, which may have words before it."""
    begins = answer.find("{")
    if begins < 0:
        return {}
    try:
        jobs = json.loads(answer[begins:], strict=False).get("Jobs", {})
    except ValueError:
        raise ValueError("it is no JSON") from None
    return {str(job): said for job, said in jobs.items() if isinstance(said, dict)}


def _text(said: Mapping[str, Any]) -> str:
    return str(said.get("comment", ""))
