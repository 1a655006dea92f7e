"""Features of random campaigns; what each comes to does not depend on when results come."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from steerio import (
    Board,
    Cancelled,
    Succeeded,
    agent,
    on_event,
    on_failure,
    on_idle,
    on_result,
    on_success,
)
from tests.simulated.random_boards import board
from tests.simulated.random_parts import Feature, all_singly, listed, nothing
from tests.simulated.random_tasks import (
    Ping,
    add,
    count_up,
    cube,
    draw,
    enlarge,
    fail_some,
    flaky,
    measure,
    shrink,
    sleep,
    slow,
    step,
    sum_up,
    swell,
    weigh,
)


def gatherer(random: Random, who: str) -> Feature:
    """Handlers that wait for several tasks, some at a time."""
    completed, count = random.random() < 0.5, random.randint(2, 4)

    @on_result(measure, concurrent=random.randint(1, 3))
    async def gather(self: Any, result: Succeeded) -> None:
        if result.args[0] != who or result.args[1] >= 100:
            return
        more = [self.submit(measure, who, 100 + 10 * result.args[1] + n) for n in range(3)]
        values: list[int] = []
        if completed:
            for each in asyncio.as_completed(more):
                values.append(await each)
        else:
            values += await asyncio.gather(*more)
        self.state[who]["sum"] += sum(values)
        self.state[who]["calls"] += 1

    async def prepare(campaign: Any) -> None:
        for n in range(count):
            campaign.submit(measure, who, n)

    return Feature({"gather": gather}, lambda _: {"sum": 0, "calls": 0}, prepare, lambda _: None)


def handles(random: Random, who: str) -> Feature:
    """Tasks that take the values of others, which an agent awaits or not."""
    awaits = random.random() < 0.5

    @agent
    async def take(self: Any) -> None:
        for n in range(2):
            first = self.submit(measure, who, n)
            both = self.submit(add, who, [first, self.submit(step, who, n)])
            last = self.submit(add, who, [both, 5, first])
            if awaits:
                self.state[who]["sum"] += await last

    @on_success(add, coalesce=True)
    async def hear(self: Any, results: list[Succeeded]) -> None:
        for result in listed(results, who):
            self.state[who]["sums"] += result.value

    return Feature(
        {"take": take, "hear": hear}, lambda _: {"sum": 0, "sums": 0}, nothing, lambda _: None
    )


def walker(random: Random, who: str) -> Feature:
    """An agent that decides by a generator of random numbers, and may checkpoint."""
    steps, checkpoints, pause = random.randint(3, 7), random.random() < 0.8, random.random() < 0.3
    seed = random.random()

    @agent
    async def walk(self: Any) -> None:
        state = self.state[who]
        while state["steps"] < steps:
            x = state["random"].randrange(1000)
            handle = self.submit(measure, who, x)
            state["sum"] += state["random"].randrange(9) * await handle
            state["steps"] += 1
            if pause:
                await asyncio.sleep(1.0)
            if checkpoints:
                await self.checkpoint()

    def begin(_: Any) -> Any:
        return {"random": Random(seed), "steps": 0, "sum": 0}

    def outcome(campaign: Any) -> Any:
        return campaign.state[who].pop("random").getstate()

    return Feature({"walk": walk}, begin, nothing, outcome)


def idler(random: Random, who: str) -> Feature:
    """Work that is made when workers have none."""
    count = random.randint(3, 8)

    @on_idle(random.choice(("default", "learn")))
    async def propose(self: Any, idle: int) -> None:
        state = self.state[who]
        for _ in range(min(idle, count - state["made"])):
            state["made"] += 1
            self.submit(step, who, state["made"])

    @on_success(step, **all_singly(random))
    async def hear(self: Any, given: Any) -> None:
        for result in listed(given, who):
            self.state[who]["done"].add(result.value)

    return Feature(
        {"propose": propose, "hear": hear},
        lambda _: {"made": 0, "done": set()},
        nothing,
        lambda _: None,
    )


def events(random: Random, who: str) -> Feature:
    """Handlers that tell others by events."""
    count = random.randint(3, 6)

    @on_success(step, **all_singly(random))
    async def tell(self: Any, given: Any) -> None:
        for result in listed(given, who):
            self.publish(Ping(who, result.value))

    @on_event(Ping, **all_singly(random))
    async def hear(self: Any, given: Any) -> None:
        state = self.state[who]
        for event in given if isinstance(given, list) else [given]:
            if event.who == who:
                state["heard"] += 1
                value = await self.run(measure, who, event.value)
                state["sum"] += value

    async def prepare(campaign: Any) -> None:
        for n in range(count):
            campaign.submit(step, who, n)

    return Feature(
        {"tell": tell, "hear": hear}, lambda _: {"heard": 0, "sum": 0}, prepare, lambda _: None
    )


def failures(random: Random, who: str) -> Feature:
    """Tasks that fail, take too long, or have to be tried again."""
    kind: Any = random.choice((fail_some, slow, flaky))
    count = random.randint(3, 6)
    batches = random.random() < 0.3

    def submit(campaign: Any, x: int) -> None:
        options = campaign.options(timeout_s=5.0, retries={"failed": 2, "lost": 5})
        (campaign if kind is fail_some else options).submit(kind, who, x)

    @on_failure(kind)
    async def fails(self: Any, result: Any) -> None:
        if result.args[0] == who:
            self.state[who]["failed"].append(result.args[1])
            submit(self, result.args[1] + 1)

    @on_failure(kind, every=2)
    async def fails_twice(self: Any, results: list[Any]) -> None:
        self.state[who]["batches"] += 1

    @on_success(kind, **all_singly(random))
    async def hear(self: Any, given: Any) -> None:
        for result in listed(given, who):
            self.state[who]["done"].append(result.value)

    async def prepare(campaign: Any) -> None:
        for x in range(count):
            submit(campaign, x)

    methods = {"fails": fails, "hear": hear} | ({"twice": fails_twice} if batches else {})
    return Feature(
        methods, lambda _: {"failed": [], "done": [], "batches": 0}, prepare, lambda _: None
    )


def draws(random: Random, who: str) -> Feature:
    """Equal calls, each of which has a result of its own."""
    count, style = random.randint(2, 5), random.choice(("fire", "await", "both"))

    @agent
    async def sample(self: Any) -> None:
        tasks = [self.submit(draw, who) for _ in range(count)]
        if style == "both":
            await asyncio.gather(*tasks[1:])
        if style == "await":
            assert len(set(await asyncio.gather(*tasks))) == count
        tasks.clear()

    @on_success(draw, **all_singly(random))
    async def hear(self: Any, given: Any) -> None:
        for result in listed(given, who):
            if count > len(self.state[who]["drawn"]) % 7 > 0:
                self.submit(step, who, 1)
            self.state[who]["drawn"].append(result.value)

    def outcome(campaign: Any) -> Any:
        drawn = campaign.state[who].pop("drawn")
        campaign.drawn[who] = drawn
        return len(drawn), len(set(drawn))

    return Feature({"sample": sample, "hear": hear}, lambda _: {"drawn": []}, nothing, outcome)


def references(random: Random, who: str) -> Feature:
    """Values that are put into the store, and given to several tasks."""
    count = random.randint(2, 5)

    @agent
    async def give(self: Any) -> None:
        values = await self.put(list(range(count)))
        for x in range(count):
            self.submit(weigh, who, values, x)
        value = await self.run(weigh, who, values, 77)
        self.state[who]["sum"] += value

    @on_success(weigh, **all_singly(random))
    async def hear(self: Any, given: Any) -> None:
        for result in listed(given, who):
            self.state[who]["sum"] += result.value

    return Feature({"give": give, "hear": hear}, lambda _: {"sum": 0}, nothing, lambda _: None)


def versions(random: Random, who: str) -> Feature:
    """An agent that publishes versions of a value, and gives tasks the latest."""
    count, kept = random.randint(2, 5), random.random() < 0.5

    @agent
    async def train(self: Any) -> None:
        state = self.state[who]
        while state["n"] < count:
            published = self.versions(who)
            if kept:
                state["versions"] = published
            await published.publish([state["n"]] * 3)
            value = await self.run(weigh, who, published.latest, state["n"])
            state["sum"] += value
            state["n"] += 1
            await self.checkpoint()
        last = await self.run(weigh, who, self.versions(who).latest, 1)
        state["sum"] += last

    def outcome(campaign: Any) -> None:
        campaign.state[who].pop("versions", None)

    return Feature({"train": train}, lambda _: {"n": 0, "sum": 0}, nothing, outcome)


def generators(random: Random, who: str) -> Feature:
    """A generator task, whose items an agent reads."""
    count = random.randint(2, 5)

    @agent
    async def read(self: Any) -> None:
        async for item in self.stream(count_up, who, count):
            value = await self.run(measure, who, item)
            self.state[who]["sum"] += value

    return Feature({"read": read}, lambda _: {"sum": 0}, nothing, lambda _: None)


def large_values(random: Random, who: str) -> Feature:
    """Values that travel through the store."""
    count = random.randint(2, 6)

    @on_success(enlarge, **all_singly(random))
    async def hear(self: Any, given: Any) -> None:
        for result in listed(given, who):
            self.state[who]["sum"] += sum(result.value)
            if result.args[1] % 2:
                self.submit(enlarge, who, result.args[1] + 1)

    @on_success(shrink)
    async def note_short(self: Any, result: Succeeded) -> None:
        if result.args[0] == who:
            self.state[who]["sum"] += result.value

    async def prepare(campaign: Any) -> None:
        for x in range(count):
            campaign.submit(enlarge, who, x)
            campaign.submit(shrink, who, bytes([x]) * 900)

    methods = {"hear": hear, "short": note_short}
    return Feature(methods, lambda _: {"sum": 0}, prepare, lambda _: None)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else sum(value)


def recalls(random: Random, who: str) -> Feature:
    """Equal calls of task types with a memo, at once and later, of agents and of a board."""
    count, waits, with_board = random.randint(2, 6), random.random() < 0.5, random.random() < 0.5
    xs = [random.randrange(count) for _ in range(3 * count)]
    kind: Any = random.choice((cube, swell))

    @agent
    async def ask(self: Any) -> None:
        for x in xs:
            task = self.submit(kind, who, x)
            if waits:
                self.state[who]["sum"] += _whole(await task)
            elif x % 2:
                task = self.submit(cube, who, x)
                twice = [self.submit(sum_up, who, [task, x]) for _ in "ab"]
                self.state[who]["sum"] += sum(await asyncio.gather(*twice))

    @on_success(kind, **all_singly(random))
    async def hear(self: Any, given: Any) -> None:
        for result in listed(given, who):
            self.state[who]["values"].append(_whole(result.value))
            if len(self.state[who]["values"]) % 3 == 0:
                self.submit(step, who, 20)

    def begin(campaign: Any) -> Any:
        if with_board:
            setattr(campaign, f"{who}_board", Board(kind, [(who, x) for x in range(count)]))
        return {"sum": 0, "values": []}

    return Feature({"ask": ask, "hear": hear}, begin, nothing, lambda _: None)


def steady(random: Random, who: str) -> Feature:
    """An agent that keeps some tasks under way, in a local variable or an attribute."""
    count, ahead, in_attribute = random.randint(4, 8), random.randint(1, 3), random.random() < 0.3

    @agent
    async def steer(self: Any) -> None:
        state = self.state[who]
        pending: set[Any] = set()
        if in_attribute:
            setattr(self, f"{who}_pending", pending)
        while state["next"] < count or pending:
            while len(pending) < ahead and state["next"] < count:
                pending.add(self.submit(measure, who, state["next"]))
                state["next"] += 1
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            pending -= done
            values = [await each for each in done]
            state["values"] += values
            await self.checkpoint()

    return Feature({"steer": steer}, lambda _: {"next": 0, "values": []}, nothing, lambda _: None)


def other_boards(random: Random, who: str) -> Feature:
    """Boards of tasks that fail, of generators, and of tasks that take too long."""
    kind: Any = random.choice((fail_some, count_up, slow))
    items = [(who, x) for x in range(random.randint(3, 6))]
    together = random.random() < 0.5

    async def hear(self: Any, given: Any) -> None:
        for result in listed(given, who):
            self.state[who][result.ended_as].append(result.args[1])
            if kind is not count_up and result.args[1] < 50:
                self.submit(step, who, result.args[1])

    async def note_success(self: Any, result: Any) -> None:
        await hear(self, result)

    async def note_failure(self: Any, result: Any) -> None:
        await hear(self, result)

    if together:  # one method with two triggers
        both = on_failure(kind)(on_success(kind)(hear))
        methods: dict[str, Any] = {"both": both}
    else:
        methods = {"good": on_success(kind)(note_success), "bad": on_failure(kind)(note_failure)}

    def begin(campaign: Any) -> Any:
        setattr(campaign, f"{who}_boards", [Board(kind, items, timeout_s=5.0)])
        return {"succeeded": [], "failed": [], "timed_out": []}

    def outcome(campaign: Any) -> Any:
        return [sorted(each.ended) for each in getattr(campaign, f"{who}_boards")]

    return Feature(methods, begin, nothing, outcome)


def cancels(random: Random, who: str) -> Feature:
    """A task that is cancelled."""
    after_s = random.uniform(0.1, 4.0)

    @agent
    async def change_its_mind(self: Any) -> None:
        task = self.submit(sleep, who)
        await asyncio.sleep(after_s)
        task.cancel()
        assert isinstance(await task.result(), Cancelled)
        self.state[who]["cancelled"] += 1

    return Feature({"agent": change_its_mind}, lambda _: {"cancelled": 0}, nothing, lambda _: None)


FEATURES = (
    *(board, board, board, gatherer, handles, walker, walker, idler, events, failures, failures),
    *(
        draws,
        draws,
        references,
        generators,
        recalls,
        recalls,
        large_values,
        cancels,
        steady,
        other_boards,
        versions,
    ),
)
