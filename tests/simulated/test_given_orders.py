"""Orders about pools and tasks, by givers of every role, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from steerio import (
    Answer,
    Asked,
    Budget,
    Campaign,
    CancelTasks,
    Checkpoint,
    Failed,
    MoveWorkers,
    Ordered,
    OrderRefused,
    ParameterChanged,
    PauseAgent,
    PausePools,
    PoolPaused,
    PoolResumed,
    RankTasks,
    ResumeAgent,
    ResumePools,
    SetParameter,
    StopCampaign,
    SubmitTask,
    TaskQueued,
    agent,
    every,
    on_result,
    parameter,
    task,
)
from steerio.campaign.conductor import drive
from steerio.campaign.pool_orders import EFFECT_S
from steerio.testing import Model
from tests.simulated.virtual import (
    AS_ASKED,
    cluster_of,
    counting,
    in_virtual_time,
    of_kind,
    simulation,
    training,
)


@task(pool="simulate")
def fragile(why: str) -> None:
    """Fail."""


def fails(_: object, why: str) -> float:
    raise ValueError(why)


MODELS = {**AS_ASKED, fragile: Model(1.0, fails)}


class Lab(Campaign):
    """Goes on for an hour, unless it is stopped, and notes the results that it hears of."""

    rate = parameter(0.1, ge=0, le=1)

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.lasting: list[Any] = []

    @agent
    async def wait(self) -> None:
        self.lasting = [self.submit(simulation, 500.0) for _ in range(4)]
        await asyncio.sleep(3600)
        self.stop(cancel=True)

    @every(1000.0)
    async def beat(self) -> None:
        pass

    @on_result(simulation)
    async def hear(self, result: Any) -> None:
        self.heard.append((result.ended_as, result.tags))


Act = Callable[[Any, Any], Awaitable[None]]


async def beside(act: Act, campaign: Campaign | None = None, **options: Any) -> Any:
    """Run a campaign on a cluster, and beside it two other sessions; return all events."""
    options.setdefault("model", MODELS)
    lab = campaign or Lab()
    async with (
        cluster_of(2, 2, **options) as cluster,
        cluster.session("Lab") as of_campaign,
        cluster.session("ada") as ada,
    ):
        running = asyncio.ensure_future(drive(lab, of_campaign))
        await asyncio.sleep(5)
        await act(lab, ada)
        if not running.done() and not (lab._conductor and lab._conductor.stopping):
            await ada.order(StopCampaign(cancel=True), by="the test")
        await running
    return cluster.record.events


def orders(events: Any, by: str = "ada") -> list[tuple[str, bool, str]]:
    return [(e.order, e.done, e.outcome) for e in of_kind(events, Ordered) if e.by == by]


async def refusal(session: Any, order: Any, **options: Any) -> str:
    with pytest.raises(OrderRefused) as caught:
        await session.order(order, **options)
    return str(caught.value.reason)


def an_order(name: str, lab: Lab) -> Any:
    """Return an order of each kind that changes something, and can be given at any time."""
    return {
        "set": SetParameter("rate", 0.5),
        "pause agent": PauseAgent("hear"),
        "resume agent": ResumeAgent("beat"),
        "stop": StopCampaign(),
        "pause pools": PausePools(("simulate",)),
        "resume pools": ResumePools(("learn",)),
        "move": MoveWorkers("learn", "simulate", 1),
        "submit": SubmitTask("training", (3,)),
        "cancel": CancelTasks((lab.lasting[0].id,)),
        "rank": RankTasks((lab.lasting[3].id,), 5.0),
    }[name]


CHANGING = [
    "set",
    "pause agent",
    "resume agent",
    "stop",
    "pause pools",
    "resume pools",
    "move",
    "submit",
    "cancel",
    "rank",
]
ONE_SUBJECT = [name for name in CHANGING if name not in ("stop", "submit")]


async def prepare(session: Any) -> None:
    """Pause that which is to be resumed."""
    await session.order(PauseAgent("beat"), by="the test")
    await session.order(PausePools(("learn",)), by="the test")
    await asyncio.sleep(1)


def effects(lab: Lab, events: Any) -> dict[str, Any]:
    """Return all that orders can have changed."""
    mine = [e for e in of_kind(events, TaskQueued) if e.task_type.endswith("training")]
    pauses = [(type(e), e.pool, "ada" in e.reason) for e in events
              if isinstance(e, PoolPaused | PoolResumed)]  # fmt: skip
    return {
        "set": lab.rate == 0.5,
        "pause agent": any("hear is paused" in each[2] for each in orders(events)),
        "resume agent": any("beat is resumed" in each[2] for each in orders(events)),
        "stop": any(each[2].startswith("it ends") for each in orders(events)),
        "pause pools": (PoolPaused, "simulate", True) in pauses,
        "resume pools": (PoolResumed, "learn", True) in pauses,
        "move": any(each[2].startswith("1 moved from learn") for each in orders(events)),
        "submit": len(mine),
        "cancel": any(each[2].startswith("cancelled task") for each in orders(events)),
        "rank": any(each[2].startswith("ranked task") for each in orders(events)),
    }


def nothing(name: str, lab: Lab, events: Any) -> bool:
    return not effects(lab, events)[name]


@pytest.mark.parametrize("name", CHANGING)
@in_virtual_time
async def test_an_order_is_carried_out_once_however_often_it_is_given(name: str) -> None:
    labs: list[Lab] = []

    async def act(lab: Lab, ada: Any) -> None:
        labs.append(lab)
        await prepare(ada)
        order = an_order(name, lab)
        both = await asyncio.gather(*(ada.order(order, id="one", reason="so") for _ in range(2)))
        assert both[0] == both[1]
        assert both[0].done
        if name != "stop":
            assert await ada.order(order, id="one") == both[0]

    events = await beside(act)
    assert effects(labs[0], events)[name] in (True, 1)
    (told,) = [e for e in of_kind(events, Ordered) if e.by == "ada"]
    assert (told.done, told.id, told.reason, told.dry_run) == (True, "one", "so", False)


@pytest.mark.parametrize("name", CHANGING)
@in_virtual_time
async def test_a_role_that_may_only_look_orders_nothing(name: str) -> None:
    labs: list[Lab] = []

    async def act(lab: Lab, ada: Any) -> None:
        labs.append(lab)
        await prepare(ada)
        assert (await ada.look()).campaign == "Lab"
        for dry_run in (False, True):
            said = await refusal(ada, an_order(name, lab), role="look", dry_run=dry_run)
            assert said.startswith("ada has the role 'look', which may only look: to ")
            assert "the role 'steer'" in said

    events = await beside(act)
    assert nothing(name, labs[0], events)
    assert [each[1] for each in orders(events)] == [False, False], "refusals are in the audit, too"


@pytest.mark.parametrize("name", CHANGING)
@in_virtual_time
async def test_a_dry_run_says_what_would_happen_and_does_nothing(name: str) -> None:
    labs: list[Lab] = []
    said: list[str] = []

    async def act(lab: Lab, ada: Any) -> None:
        labs.append(lab)
        await prepare(ada)
        said.append((await ada.order(an_order(name, lab), dry_run=True)).words)
        answer = await ada.order(an_order(name, lab), dry_run=True, role="propose")
        assert answer.words == f"would be proposed: {said[0]}"
        assert not (await ada.look()).questions

    events = await beside(act)
    assert "would" in said[0]
    assert nothing(name, labs[0], events)
    assert all(each.dry_run for each in of_kind(events, Ordered) if each.by == "ada")
    assert not of_kind(events, Asked)


@pytest.mark.parametrize("name", ONE_SUBJECT)
@in_virtual_time
async def test_an_order_is_refused_if_another_changed_its_subject_first(name: str) -> None:
    async def act(lab: Lab, ada: Any) -> None:
        await prepare(ada)
        order = an_order(name, lab)
        opposite = {
            "set": SetParameter("rate", 0.7),
            "pause agent": order,
            "resume agent": order,
            "pause pools": ResumePools(("simulate",)),
            "resume pools": order,
            "cancel": RankTasks((lab.lasting[0].id,), 1.0),
        }.get(name, order)
        seen = (await ada.look()).at_event
        await ada.order(opposite, by="bob", based_on=seen)
        assert f"has changed since event {seen}, at event" in await refusal(
            ada, order, based_on=seen
        )
        seen = (await ada.look()).at_event
        assert (await ada.order(order, based_on=seen, by="ada")).done

    events = await beside(act)
    assert [each[1] for each in orders(events)] == [False, True]


@in_virtual_time
async def test_a_pool_that_was_paused_at_the_broker_has_changed_too() -> None:
    async def act(_: Lab, ada: Any) -> None:
        seen = (await ada.look()).at_event
        await ada.pools.pause("learn", reason="to look")
        await asyncio.sleep(1)
        said = await refusal(ada, ResumePools(("learn",)), based_on=seen)
        assert f"pool learn has changed since event {seen}, at event" in said

    await beside(act)


REFUSED = [
    (PausePools(("labs",)), "labs"),
    (ResumePools(("labs",)), "labs"),
    (MoveWorkers("labs", "learn", 1), "labs"),
    (MoveWorkers("learn", "labs", 1), "labs"),
    (MoveWorkers("learn", "learn", 1), "workers of learn are there already"),
    (MoveWorkers("learn", "simulate", 0), "workers is a whole number above 0, not 0"),
    (MoveWorkers("learn", "simulate", 3), "learn has 2 workers of its own, and 3 cannot move"),
    (SubmitTask("trainin", (1,)), "Lab has no task type 'trainin'"),
    (SubmitTask("", (1,)), "Lab has no task type ''"),
    (SubmitTask("os:system", ("ls",)), "Lab has no task type 'os:system'"),
    (SubmitTask("test_given_orders:prepare"), "has no task type"),
    (SubmitTask("training"), "missing a required argument: 'size'"),
    (SubmitTask("training", (1, 2)), "too many positional arguments"),
    (SubmitTask("training", (), {"length": 1}), "missing a required argument"),
    (SubmitTask("training", ("much",)), "size"),
    (SubmitTask("fragile", ({(1, 2): 3},)), "are numbers, texts, lists and the like"),
    (SubmitTask("fragile", ("x" * 70_000,)), "are at most 65536 bytes, not 70"),
    (SubmitTask("training", (1,), {}, float("inf")), "priority must be a finite number, not inf"),
    (CancelTasks(()), "name at least one task"),
    (CancelTasks((10**9,)), "task 1000000000 is no task of this campaign"),
    (CancelTasks((-1, 10**9)), "tasks -1, 1000000000 are no tasks of this campaign"),
    (RankTasks((10**9,), 1.0), "is no task of this campaign"),
    (Checkpoint(), "no journal"),
]


@in_virtual_time
async def test_orders_that_cannot_be_are_refused_in_words_by_each_role() -> None:
    async def act(_: Lab, ada: Any) -> None:
        for order, words in REFUSED:
            for role, dry_run in (("steer", False), ("steer", True), ("propose", False)):
                said = await refusal(ada, order, role=role, dry_run=dry_run)
                assert words in said, order

    events = await beside(act)
    assert [each[1] for each in orders(events)] == [False] * 3 * len(REFUSED)
    assert not of_kind(events, Asked)


@in_virtual_time
async def test_a_submitted_task_is_one_of_the_campaign_and_tagged_with_its_giver() -> None:
    async def act(lab: Lab, ada: Any) -> None:
        await ada.order(CancelTasks(tuple(each.id for each in lab.lasting)))
        await asyncio.sleep(20)
        lab.heard.clear()
        answer = await ada.order(SubmitTask("simulation", (2.0,)))
        (number,) = answer.tasks
        assert answer.words == f"submitted task {number}: simulation(2.0)"
        full = "tests.simulated.virtual:simulation"
        answer = await ada.order(SubmitTask(full, (), {"seconds": 1}, 3.0), by="bob")
        assert answer.tasks != (number,)
        await asyncio.sleep(3)
        assert lab.heard == [
            ("succeeded", {"ordered_by": "bob"}),
            ("succeeded", {"ordered_by": "ada"}),
        ]
        said = await refusal(ada, CancelTasks((number,)))
        assert said == f"task {number} has ended"

    await beside(act)


@task(pool="simulate")
def placed(x: float, step: float = 0.1, *, far: bool = False) -> float:
    """Return where it looked."""
    return x


class Placing(Lab):
    """Reads arguments by their places, as agents do."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[Any] = []

    @on_result(placed)
    async def read(self, result: Any) -> None:
        self.places.append((result.args[0], result.args[1:], result.kwargs))


@in_virtual_time
async def test_arguments_that_are_ordered_by_name_are_where_agents_look_for_them() -> None:
    async def act(lab: Any, ada: Any) -> None:
        await ada.order(CancelTasks(tuple(each.id for each in lab.lasting)))
        for kwargs in ({"x": 1.0}, {"step": 0.2, "x": 2.0}, {"x": 3.0, "far": True}):
            await ada.order(SubmitTask("placed", (), kwargs))
            await asyncio.sleep(10)
        assert lab.places == [(1.0, (), {}), (2.0, (0.2,), {}), (3.0, (), {"far": True})]

    await beside(act, Placing(), model={**MODELS, placed: Model(1.0)})


@in_virtual_time
async def test_an_ordered_task_that_fails_does_not_end_the_campaign_and_a_generator_ends() -> None:
    async def act(lab: Lab, ada: Any) -> None:
        await ada.order(CancelTasks(tuple(each.id for each in lab.lasting)))
        await ada.order(SubmitTask("fragile", ("so",)))
        await ada.order(SubmitTask("counting", (5,)))
        await asyncio.sleep(30)
        assert lab._conductor is not None
        assert not lab._conductor.outstanding
        tally = lab._conductor.tally
        assert [type(each) for each in tally.failures] == [Failed] or tally.ended["failed"] == 1

    await beside(act)


assert counting, "it is among the task types that the campaign is seen to have"
assert training


@in_virtual_time
async def test_tasks_that_ended_or_never_were_are_said_beside_those_that_are_cancelled() -> None:
    async def act(lab: Lab, ada: Any) -> None:
        (ended,) = (await ada.order(SubmitTask("training", (1,)))).tasks
        await asyncio.sleep(5)
        first, second = lab.lasting[0].id, lab.lasting[3].id
        answer = await ada.order(CancelTasks((second, ended, 10**9, second)), reason="too long")
        assert answer.words == (
            f"cancelled task {second}; task {ended} has ended; "
            "task 1000000000 is no task of this campaign"
        )
        await asyncio.sleep(1)
        result = lab.lasting[3].peek()
        assert result.reason == "cancelled by ada: too long"
        answer = await ada.order(RankTasks((first, ended), 2), dry_run=True)
        assert (
            answer.words == f"would rank task {first} at 2, if still queued; task {ended} has ended"
        )

    await beside(act)


@in_virtual_time
async def test_a_ranked_task_goes_first() -> None:
    async def act(lab: Lab, ada: Any) -> None:
        late = [(await ada.order(SubmitTask("simulation", (float(n),)))).tasks[0] for n in (1, 2)]
        await ada.order(RankTasks((late[1],), 10.0))
        ids = tuple(each.id for each in lab.lasting)
        await ada.order(CancelTasks(ids[1:]))
        await asyncio.sleep(10)
        ended = [tags for how, tags in lab.heard if how == "succeeded"]
        assert len(ended) == 2

    events = await beside(act)
    started = [e.task_id for e in events if type(e).__name__ == "TaskStarted"]
    assert started.index(max(started)) < started.index(max(started) - 1), "the second before"


@in_virtual_time
async def test_pools_are_paused_and_resumed_with_giver_and_reason() -> None:
    async def act(_: Lab, ada: Any) -> None:
        answer = await ada.order(PausePools(), reason="odd values")
        assert answer.words == (
            "simulate is paused: 2 running, 2 queued; learn is paused: 0 running, 0 queued"
        )
        answer = await ada.order(ResumePools(("learn", "learn")))
        assert answer.words == "learn goes on: 0 queued"

    events = await beside(act)
    reasons = [(e.pool, e.reason) for e in of_kind(events, PoolPaused)]
    assert reasons[0] == ("simulate", "by Lab: by ada: odd values")


@in_virtual_time
async def test_an_order_that_takes_long_holds_no_other_up_and_is_answered_in_time() -> None:
    async def act(lab: Lab, ada: Any) -> None:
        began = asyncio.get_running_loop().time()
        moving = asyncio.ensure_future(ada.order(MoveWorkers("simulate", "learn", 2)))
        await asyncio.sleep(1)
        assert (await ada.order(SetParameter("rate", 0.5))).done
        answer = await moving
        assert answer.words == (
            "0 of 2 moved from simulate to learn; the others go when their running tasks have ended"
        )
        assert asyncio.get_running_loop().time() - began == pytest.approx(EFFECT_S, abs=2)
        await ada.order(CancelTasks(tuple(each.id for each in lab.lasting)))
        await asyncio.sleep(30)
        await ada.pools.look()
        assert (ada.pools["simulate"].workers, ada.pools["learn"].workers) == (0, 4)

    await beside(act)


@in_virtual_time
async def test_an_order_that_has_no_effect_yet_is_refused_when_the_campaign_ends() -> None:
    said: list[Any] = []

    async def act(_: Lab, ada: Any) -> None:
        moving = asyncio.ensure_future(ada.order(MoveWorkers("simulate", "learn", 2)))
        await asyncio.sleep(1)
        await ada.order(StopCampaign(cancel=True), by="bob")
        said.append((await asyncio.gather(moving, return_exceptions=True))[0])

    events = await beside(act)
    assert isinstance(said[0], OrderRefused) or "moved" in said[0].words
    assert len(orders(events)) == 1


@in_virtual_time
async def test_two_that_steer_at_once_are_told_apart() -> None:
    async def act(_: Lab, ada: Any) -> None:
        seen = (await ada.look()).at_event
        values = (("ada", 0.3), ("bob", 0.4))
        told = await asyncio.gather(
            *(ada.order(SetParameter("rate", v), by=by, based_on=seen, id="1") for by, v in values),
            return_exceptions=True,
        )
        assert [isinstance(each, OrderRefused) for each in told] == [False, True]
        assert "has changed since" in str(told[1])

    events = await beside(act)
    assert [each.by for each in of_kind(events, ParameterChanged)] == ["ada"]


@in_virtual_time
async def test_a_budget_bounds_tasks_within_an_hour_and_worker_hours_in_all() -> None:
    few, short = Budget(tasks_per_hour=2), Budget(worker_hours=10 / 3600)

    async def act(lab: Lab, ada: Any) -> None:
        await ada.order(CancelTasks(tuple(each.id for each in lab.lasting)))
        await asyncio.sleep(20)
        for _ in range(2):
            await ada.order(SubmitTask("training", (1,)), budget=few)
            await asyncio.sleep(600)
        said = await refusal(ada, SubmitTask("training", (1,)), budget=few, dry_run=True)
        assert said.startswith("ada has submitted 2 tasks within the last hour, and may submit 2")
        assert said.endswith("there is room in 40 min")
        await ada.order(SubmitTask("training", (9,)), budget=few, by="bob")
        await ada.order(SubmitTask("training", (2,)), budget=short, by="cy")
        await ada.order(SubmitTask("training", (8,)), budget=short, by="cy")
        await asyncio.sleep(20)
        said = await refusal(ada, SubmitTask("training", (1,)), budget=short, by="cy")
        assert said.startswith("the tasks of cy have used 0.00278 of 0.00277778 worker-hours")
        await asyncio.sleep(1790)
        assert "there is room in" in await refusal(ada, SubmitTask("training", (1,)), budget=few)

    await beside(act)


class Stopping(Lab):
    """Is asked for a task while it ends."""

    async def finish(self) -> None:
        assert "no task is submitted" in await refusal(self.session, SubmitTask("training", (1,)))
        said = await refusal(self.session, SetParameter("rate", 0.5), role="look")
        assert "may only look" in said


@in_virtual_time
async def test_a_campaign_that_ends_takes_no_tasks_by_orders() -> None:
    async def act(_: Lab, ada: Any) -> None:
        await ada.order(StopCampaign(cancel=True))

    await beside(act, Stopping())


@in_virtual_time
async def test_answers_are_given_by_those_that_steer() -> None:
    async def act(_: Lab, ada: Any) -> None:
        said = await refusal(ada, Answer("yes"), role="propose")
        assert said.startswith("ada has the role 'propose', which may propose orders but answer no")

    await beside(act)
