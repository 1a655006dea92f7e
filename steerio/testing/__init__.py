"""Test a policy before spending node-hours on it: a simulated cluster on a virtual clock.

`simulate` runs a whole ``Campaign`` on thousands of simulated workers in seconds, deterministically
from a seed, with models of how long tasks take and scripted faults. `SimulatedCluster` is the
cluster under it, for tests that use a session directly.
"""

from steerio.testing.course import Course
from steerio.testing.distributions import constant, exponential, lognormal, recorded, uniform
from steerio.testing.faults import (
    DrainNode,
    FailStarts,
    Fault,
    HalfOpenConnections,
    HangWorker,
    KillNode,
    KillWorker,
    PartitionNode,
    RandomKills,
    ResetConnections,
    RestartBroker,
    SlowNode,
)
from steerio.testing.loop import VirtualLoop, run_virtual
from steerio.testing.model import Model
from steerio.testing.recorded_models import RecordedModels, recorded_models
from steerio.testing.simulate import SimulatedRun, simulate
from steerio.testing.simulated_cluster import SimulatedCluster

__all__ = [
    "Course",
    "DrainNode",
    "FailStarts",
    "Fault",
    "HalfOpenConnections",
    "HangWorker",
    "KillNode",
    "KillWorker",
    "Model",
    "PartitionNode",
    "RandomKills",
    "RecordedModels",
    "ResetConnections",
    "RestartBroker",
    "SimulatedCluster",
    "SimulatedRun",
    "SlowNode",
    "VirtualLoop",
    "constant",
    "exponential",
    "lognormal",
    "recorded",
    "recorded_models",
    "run_virtual",
    "simulate",
    "uniform",
]
