"""The keeping of a campaign: its results are recorded, snapshots taken, and its past restored."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from steerio.campaign.attributes import ClassAttributes, generators, set_generators
from steerio.campaign.campaign import Campaign
from steerio.campaign.campaign_state import (
    check_kind,
    check_state,
    check_versions,
    placed_calls,
    put_back,
    restore_calls,
    restore_objects,
    saved_state,
    submission_of,
)
from steerio.campaign.captured import (
    CampaignState,
    Captured,
    MadePlaces,
    Submission,
    capture_boards,
    restore_boards,
)
from steerio.campaign.consultations import Consultations
from steerio.campaign.dealing import Dealing
from steerio.campaign.feeding import Feeder
from steerio.campaign.lasting_agents import LastingAgents
from steerio.campaign.limits import Spent
from steerio.campaign.order_desk import OrderDesk, SteeredState
from steerio.campaign.past import Past
from steerio.campaign.snapshot_taker import Durable, SnapshotTaker
from steerio.campaign.state import Places, StateWriter, read_state
from steerio.edge.record.entries import (
    AdvisedEntry,
    Began,
    EntryKind,
    ResultEntry,
    Steered,
    SteeredEntry,
    encode_entry,
)
from steerio.errors import StateError
from steerio.model.events import Advised
from steerio.model.results import Result
from steerio.model.settings import Settings
from steerio.session.current_agent import current_agent, results_behind
from steerio.session.recorder import Appends, ResultRecorder
from steerio.session.recovered import as_result
from steerio.session.replay import RecordedResult, Replay, read_here
from steerio.session.session import Session
from steerio.session.task import Task

log = logging.getLogger("steerio.campaign")

STATE_BYTES = 256 << 20
"""Most bytes of attributes in a snapshot."""


class KeptRun(Protocol):
    """One run of a campaign, as seen by its keeping."""

    campaign: Campaign
    session: Session
    spent: Spent
    agents: LastingAgents
    desk: OrderDesk
    consultations: Consultations
    dealing: Dealing
    feeder: Feeder
    outstanding: dict[int, Task[Any]]
    fetching: int
    """How many items of tasks are on their way from the store."""
    began: float
    """When it began, by the loop's clock; with earlier incarnations, so long before."""

    @property
    def goes_on(self) -> bool:
        """Whether it has neither ended nor begun to."""
        ...

    def fail(self, error: Exception) -> None:
        """End the campaign with an error."""
        ...


class CampaignJournal(Appends, Durable, Protocol):
    """A journal, as seen by the keeping of a campaign."""


class Keeping:
    """The keeping of one run.

    Args:
        journal: takes the results and snapshots.
        past: the incarnations before, by its entries.
        settings: say how often to take snapshots.
        strictly: whether to refuse a campaign whose state cannot be told; else that is warned of.
        began: the present incarnation.
    """

    def __init__(
        self,
        journal: CampaignJournal,
        past: Past,
        *,
        settings: Settings | None = None,
        strictly: bool = False,
        began: Began | None = None,
    ) -> None:
        self.past = past
        self.snapshots: SnapshotTaker
        self.recorder: ResultRecorder
        self._journal = journal
        self._settings = settings or Settings()
        self._strictly = strictly
        self._began = began
        self._content = past.content()
        self._run: KeptRun
        self._made: MadePlaces
        self._tasks: list[Submission] = []
        self.steered = SteeredState()
        """The part of the last snapshot that orders have made."""
        self.steered_after: list[tuple[int, Steered]] = []
        """All behind it, each with the number of results before it."""
        self.advised: list[Advised] = []
        """The answers of advisors that calls may ask for again."""
        self._covered = 0
        """Tasks that the restored snapshot has counted."""

    def __repr__(self) -> str:
        return f"<Keeping: {self.past.incarnations} incarnations before>"

    @property
    def restores(self) -> bool:
        """Whether a snapshot is restored, so that the campaign does not begin anew."""
        return self._content is not None

    @property
    def random_seed(self) -> int | None:
        """The seed of the run, of its first incarnation as of later ones; ``None``: not known."""
        return None if self._began is None else self._began.random_seed

    @property
    def run_name(self) -> str:
        """A name that the incarnations of the run have in common, and no other run has."""
        return "" if self._began is None else self._began.run

    @property
    def recorded_before(self) -> int:
        """How many tasks of the run ended in earlier incarnations, and were not run again."""
        return self._covered + self._given()

    @property
    def recovered(self) -> list[Result]:
        """The recorded results that no call has asked for."""
        return [as_result(recorded, self._read) for recorded in self.recorder.replay.recovered]

    def begin(self, run: KeptRun) -> None:
        """Have the results of a run recorded, from now on.

        Raises:
            UsageError: the campaign's state cannot be told, and is asked for.
        """
        self._run = run
        self._made = MadePlaces(run.campaign)
        check_state(run.campaign, strictly=self._strictly)
        self._of_class = ClassAttributes(type(run.campaign), Campaign)
        left = [] if self._content is None else self._content.left
        numbers = [each.number for each in self.past.results]
        self.advised = [what for _, what in self.past.advised]
        self.steered_after = [(bisect(numbers, at), what) for at, what in self.past.steered]
        replay = Replay(run.session.client, [*left, *self.past.results], self._read)
        self.past.results, self.past.decoded = [], None  # not needed any more
        known = run.session.recalls.memo.own = self.past.known
        self.recorder = ResultRecorder(run.session.client, self._journal, replay, run.fail, known)
        run.session.recorder = self.recorder
        run.session.store.digests = True
        self.snapshots = SnapshotTaker(
            self.recorder,
            self._journal,
            self._capture,
            run.session.store.content_of,
            lambda: (
                run.goes_on and run.agents.all_parked and not (run.dealing.busy or run.fetching)
            ),
            lambda: run.goes_on and run.agents.some_parked,
            run.desk.questions.keep_off,
            every_s=self._settings.snapshot_s,
            every_results=self._settings.snapshot_results,
            covers=self.past.covers,
            known=known,
            began=self._began,
            incarnations=self.past.incarnations + 1,
        )

    def close(self) -> None:
        """Record nothing any more."""
        if self._run.session.recorder is None:  # it did not begin
            return
        self.snapshots.close()
        self.recorder.close()
        replay = self.recorder.replay
        if replay.given or replay.total:
            log.info("%d of %d recorded results were given out again", replay.given, replay.total)
        left = len(replay.recovered) if replay.total else 0
        if left:
            log.warning(
                "%d recorded results were not asked for again: self.recovered has them. Results "
                "are known by the names of functions and their files, versions, and arguments",
                left,
            )
        self._run.session.recorder = None
        self._run.session.store.digests = False

    def _read(self, recorded: RecordedResult) -> tuple[ResultEntry, Sequence[bytes]]:
        """Return the entry of a recorded result, and the frames of its value.

        Raises:
            JournalDamaged, KeyError, OSError: the journal has it, and cannot be read.
        """
        if recorded.by_key:
            return self.past.known.read(recorded.body)
        return read_here(recorded)

    def _given(self) -> int:
        recorder: ResultRecorder | None = getattr(self, "recorder", None)  # it may not have begun
        return 0 if recorder is None else recorder.replay.given

    def _capture(self) -> Captured:
        """Return the state of the campaign, between two turns of the loop.

        Raises:
            StateError: it cannot be told now.
        """
        run, campaign = self._run, self._run.campaign
        captured = capture_boards(campaign, self._made)
        boards = [each.board for each in captured]
        kind = type(campaign)
        spent = run.spent
        state = CampaignState(
            kind=f"{kind.__module__}:{kind.__qualname__}",
            version=kind.state_version,
            attributes=saved_state(campaign),
            calls=[
                s for n, each in placed_calls(run.dealing.calls) if (s := each.state(n)) is not None
            ],
            tasks=[
                submission_of(task)
                for task in run.outstanding.values()
                if not run.feeder.came_from(task, boards)
            ],
            ended=sorted(run.agents.ended),
            spent=(
                spent.tasks,
                spent.successes,
                spent.failures,
                spent.worker_s,
                asyncio.get_running_loop().time() - run.began,
            ),
            boards={n: each.state for n, each in enumerate(captured) if each.in_head},
            generators=generators(),
            versions=dict(self.recorder.versions),
            recalled=spent.recalled,
            notes=dict(run.session.notes),
            steered=run.desk.state(),
            advised=list(run.consultations.known),
        )
        changed = self._of_class.changed()
        if changed:
            raise StateError(
                f"{kind.__name__}.{changed} has changed, which is an attribute of the class and no "
                f"part of a snapshot: set self.{changed} = ... in __init__"
            )
        writer = StateWriter(campaign, boards)
        head = writer.write(state)
        if len(head) > STATE_BYTES:
            raise StateError(
                f"its attributes are {len(head)} bytes, and at most {STATE_BYTES} are written into "
                "a snapshot: put large values into the store, or make them @transient"
            )
        return Captured(
            writer,
            head=head,
            boards=captured,
            versions=run.session.store.versions.published_now(),
            left=self.recorder.replay.left,
            pools={n: load.at_home for n, load in run.session.client.watch.pools.items()},
        )

    async def restore(self) -> float:
        """Give the campaign the state of the last snapshot; return its seconds until then.

        Raises:
            StateError: that cannot be done with the code as it is now.
        """
        content, self._content = self._content, None
        assert content is not None
        run, campaign = self._run, self._run.campaign
        places = Places(campaign, session=run.session)
        places.references = await restore_objects(content, run.session)
        restore_boards(content.boards, places)
        try:
            state: CampaignState = read_state(content.head, places)
        except StateError as error:
            raise StateError(
                f"the state of {type(campaign).__name__} cannot be read from its snapshot: {error}"
                ". Resume with the code as it was, or bring back the classes that its state is of"
            ) from None
        check_kind(campaign, state)
        check_versions(state)
        self.recorder.versions.update(state.versions)
        for number, board_state in state.boards.items():
            places.boards[number].restore(board_state)
        set_generators(state.generators)
        campaign.restore_state(state.attributes, state.version)
        put_back(campaign, content.boards, places.boards)
        restore_calls(run.dealing.calls, state)
        run.agents.ended.update(state.ended)
        spent = run.spent
        spent.tasks, spent.successes, spent.failures, spent.worker_s, seconds = state.spent
        spent.recalled = state.recalled
        run.session.noted.begin(state.notes)
        self.steered = state.steered or SteeredState()
        self.advised = [*state.advised, *self.advised]
        self._covered = spent.tasks
        self._tasks = state.tasks
        return seconds

    def note(self, what: Steered, then: Callable[[], None]) -> None:
        """Write an order, a question or an answer, and call ``then`` when that is done."""
        entry = EntryKind.STEERED, encode_entry(SteeredEntry(what))
        self.recorder.write_long([entry], then)

    def note_advice(self, advised: Advised, then: Callable[[], None]) -> None:
        """Write the answer of an advisor, and call ``then`` when that is done."""
        entry = EntryKind.ADVISED, encode_entry(AdvisedEntry(advised))
        self.recorder.write_long([entry], then)

    def submit_again(self) -> None:
        """Submit the tasks that were out."""
        for task in self._tasks:
            token, behind = current_agent.set(task.cause), results_behind.set(task.because)
            try:
                again = self._run.session.submit_with(
                    task.task_type, task.args, task.kwargs, task.options, task.tags or None
                )
                again.chain = task.chain
            finally:
                current_agent.reset(token)
                results_behind.reset(behind)
        self._tasks = []
