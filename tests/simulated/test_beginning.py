"""A campaign finds its pools as they were asked for when it begins, simulated as in earnest."""

from __future__ import annotations

import pytest

from steerio.testing import Model, simulate
from tests.simulated.beginning import Beginning

pytestmark = pytest.mark.borders

ASKED = {"batch": [3, 3], "service": [1, 1]}
SHARED_OUT = {"batch": [2, 2], "service": [2, 2]}


@pytest.mark.parametrize("start_s", [0.0, 30.0])
@pytest.mark.parametrize("latency_s", [0.0, 0.5])
@pytest.mark.parametrize("nodes", [1, 4])
def test_pools_are_as_asked_for_when_a_campaign_begins(
    start_s: float, latency_s: float, nodes: int
) -> None:
    run = simulate(Beginning(), model=Model(1.0), start_s=start_s, latency_s=latency_s, nodes=nodes)
    assert run.campaign.found == {"setup": ASKED, "agent": ASKED, "finish": SHARED_OUT}
    assert len(run.campaign.values) == 4
