"""The dashboard's session with the broker of its run, by which all of its orders go.

It is opened by the first request that needs it, so that a page which is only looked at is no client
of the broker, and stays open until that or the server ends. One task opens and closes it; requests
wait for it.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from steerio.edge.record.export_files import record_of, said_of_run
from steerio.edge.system.threads import in_thread
from steerio.errors import BrokerLost, OrderRefused, SteerioError, UsageError
from steerio.model.campaign_orders import CampaignView, Order, OrderAnswer
from steerio.model.roles import Budget, Role
from steerio.model.status import PoolLoad
from steerio.session.opening import connect
from steerio.session.recorded_runs import state_of
from steerio.session.run_dir import PARAMETERS
from steerio.session.session import Session
from steerio.view.run_files import LIVE

NAME = "dashboard"
"""The name of the session; orders have the names of their givers."""
FRESH_S = 0.25
"""A look that is so young is shown to others that ask, so many pages cost no more than one."""
OPEN_S = 20.0
"""How long a request waits for the session to be opened."""
LOOK_S = 10.0
"""How long a request waits for the campaign to tell how it is."""


class NoCampaign(SteerioError):
    """No campaign takes orders here: the run has ended, or its broker cannot be reached."""


class SteeringLine:
    """The session of one dashboard.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._session: asyncio.Future[Session] | None = None
        self._wanted, self._closed = asyncio.Event(), asyncio.Event()
        self._looking = asyncio.Lock()
        self._looks: dict[str, tuple[float, CampaignView]] = {}

    def __repr__(self) -> str:
        return f"<SteeringLine to {self.folder}>"

    # -- the session -----------------------------------------------------------------------------

    async def hold(self) -> None:
        """Open the session when it is wanted, and hold it until the broker is lost, or `close`."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            asked = self._session
            if self._closed.is_set() or asked is None:
                return
            try:
                where, _ = await in_thread(record_of, self.folder)
                async with connect(where, name=NAME) as session:
                    await session.pools.look()
                    _tell(asked, session)
                    await self._until_lost(session)
            except SteerioError as error:
                _tell(asked, error)
            except OSError as error:
                _tell(asked, UsageError(f"{self.folder} cannot be read: {error}"))
            finally:
                _tell(asked, BrokerLost("the dashboard ends"))
                self._session = None
                self._looks.clear()

    async def _until_lost(self, session: Session) -> None:
        """Wait until the broker is lost, or `close`."""
        lost = asyncio.Event()

        def told(reason: str) -> None:
            lost.set()

        session.client.on_lost(told)
        try:
            await _first_of(lost, self._closed)
        finally:
            session.client.off_lost(told)

    def close(self) -> None:
        """Have `hold` end, and close the session."""
        self._closed.set()
        self._wanted.set()

    async def _opened(self) -> Session:
        """Return the session, which is opened if it is not.

        Raises:
            NoCampaign: there is no broker that can be reached.
        """
        if self._closed.is_set():
            raise NoCampaign("the dashboard ends")
        if self._session is None:
            self._session = asyncio.get_running_loop().create_future()
            self._wanted.set()
        try:
            async with asyncio.timeout(OPEN_S):
                return await asyncio.shield(self._session)
        except SteerioError as error:
            raise NoCampaign(f"no campaign takes orders here: {error}") from None
        except TimeoutError:
            raise NoCampaign(f"the broker did not answer within {OPEN_S:g} s") from None

    async def _campaign(self, named: str) -> str:
        """Return the campaign that is meant: of a run that joined a broker, that run's own.

        Raises:
            NoCampaign: that run has ended, and the broker may have another of its name.
        """
        return named or await in_thread(self._joined)

    def _joined(self) -> str:
        _, joined = record_of(self.folder)
        if not joined:
            return ""
        state, _ = state_of(self.folder)
        if state not in LIVE:
            raise NoCampaign(f"the run in {self.folder} has ended ({state})")
        of_class = str(said_of_run(self.folder, PARAMETERS).get("campaign", ""))
        return of_class.rpartition(":")[2]

    # -- asking and ordering ---------------------------------------------------------------------

    async def look(self, campaign: str) -> tuple[CampaignView, dict[str, PoolLoad]]:
        """Return how a campaign and its pools are; several that ask at a time share an answer.

        Raises:
            NoCampaign: there is none.
        """
        campaign = await self._campaign(campaign)
        session = await self._opened()
        try:
            async with asyncio.timeout(LOOK_S), self._looking:  # all that wait end with the first
                at, view = self._looks.get(campaign, (0.0, None))
                if view is None or time.monotonic() > at + FRESH_S:
                    view = await session.look(campaign)
                    await session.pools.look()
                    self._looks = {campaign: (time.monotonic(), view)}
        except (OrderRefused, BrokerLost) as error:
            raise NoCampaign(getattr(error, "reason", "") or str(error)) from None
        except TimeoutError:
            raise NoCampaign(f"the campaign did not answer within {LOOK_S:g} s") from None
        return view, dict(session.pools)

    async def order(
        self,
        order: Order,
        by: str,
        role: Role,
        budget: Budget,
        *,
        reason: str,
        id: str,
        based_on: int | None,
        dry_run: bool,
        campaign: str,
    ) -> OrderAnswer:
        """Give a campaign an order, and return its answer.

        Args:
            order: the order.
            by: its giver.
            role: that of the giver.
            budget: of the giver.
            reason: why.
            id: of the order.
            based_on: the number of an event.
            dry_run: whether it is only tried.
            campaign: its name; empty: the only one.

        Raises:
            OrderRefused: it was refused.
            NoCampaign: there is none that takes it.
            UsageError: an argument is wrong.
        """
        campaign = await self._campaign(campaign)
        session = await self._opened()
        try:
            return await session.order(
                order,
                reason=reason,
                by=by,
                campaign=campaign,
                dry_run=dry_run,
                based_on=based_on,
                id=id,
                role=role,
                budget=budget,
            )
        except BrokerLost as error:
            raise NoCampaign(str(error)) from None
        except OrderRefused:
            self._looks.clear()
            await self.look(campaign)  # raises, if no campaign is there to have refused it
            raise
        finally:
            self._looks.clear()


def _tell(asked: asyncio.Future[Session], outcome: Session | Exception) -> None:
    if asked.done():
        return
    if isinstance(outcome, Session):
        asked.set_result(outcome)
    else:
        asked.set_exception(outcome)
        asked.exception()  # all that waited may have left


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of these events has come."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
