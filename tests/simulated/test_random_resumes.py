"""Random campaigns that are cut off at random, and resumed, end as those that were not."""

from __future__ import annotations

import os

import pytest

from steerio.edge.record import entries
from steerio.session import recorder
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.ledgers import Ledger
from tests.simulated.random_campaigns import make_campaign
from tests.simulated.random_histories import Setting, play, run_uncut, search, spent

PARTS = (1 << 20, 400)
"""Lengths of the parts of long content: with the shorter one nearly all snapshots have parts."""


@pytest.mark.parametrize("part_bytes", PARTS)
def test_a_random_campaign_that_was_cut_off_ends_as_one_that_was_not(
    part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(part_bytes, monkeypatch)
    found = search(f"{part_bytes}", cuts=500)
    assert found.snapshots > 500
    assert found.replayed > 500
    assert found.filled > 50


def test_a_random_campaign_that_knows_an_earlier_run_ends_as_that_did() -> None:
    recalled = 0
    for number in range(40):
        uncut = run_uncut(f"earlier {number}")
        campaign, ledger = make_campaign(uncut.seed)(), Ledger()
        keeping = play(campaign, CrashingDisk(), ledger, Setting(seed=number), [uncut.known()])
        assert campaign.outcome() == uncut.outcome
        assert ledger.keys == uncut.keys
        assert spent(keeping) == uncut.spent
        recalled += sum(ledger.computed.values())
    assert recalled > 20


@pytest.mark.stress
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part_bytes", PARTS)
def test_ten_thousand_cuts_change_no_campaign(
    part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(part_bytes, monkeypatch)
    search(os.environ["STRESS_SEED"], cuts=5_000)


def cut_into(part_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have longer content cut into parts of this length."""
    monkeypatch.setattr(entries, "PART_BYTES", part_bytes)
    monkeypatch.setattr(recorder, "PART_BYTES", part_bytes)
