"""The preparing of orders: each is checked by the part of the desk that its kind is for."""

from __future__ import annotations

from typing import assert_never

from steerio.campaign.agent_orders import AgentOrders
from steerio.campaign.order_subjects import Subjects
from steerio.campaign.pool_orders import PoolOrders
from steerio.campaign.prepared_orders import OrderedRun, PreparedOrder
from steerio.campaign.task_orders import TaskOrders
from steerio.errors import UsageError
from steerio.model import campaign_orders as co
from steerio.model.roles import includes

ToPoolsOrTasks = (
    co.PausePools | co.ResumePools | co.MoveWorkers | co.SubmitTask | co.CancelTasks | co.RankTasks
)


class OrderPreparer:
    """Checks the orders to one campaign, but for answers to its questions.

    Args:
        run: its run.
        subjects: of its orders.
    """

    def __init__(self, run: OrderedRun, subjects: Subjects) -> None:
        self.agents = AgentOrders(run, subjects)
        self.pools = PoolOrders(run)
        self.tasks = TaskOrders(run)

    def __repr__(self) -> str:
        return f"<OrderPreparer: {self.pools!r}, {self.tasks!r}>"

    def prepared(self, order: co.Order, given: co.GivenOrder) -> PreparedOrder:
        """Return an order that can be carried out.

        Raises:
            SteerioError, TypeError: it cannot be.
        """
        match order:
            case co.SetParameter():
                return self.agents.set(order, given)
            case co.PauseAgent() | co.ResumeAgent():
                return self.agents.pause(order)
            case co.Checkpoint():
                return self.agents.checkpoint()
            case co.StopCampaign():
                return self.agents.stop(order, given)
            case co.Look() | co.Answer():
                raise UsageError(f"{co.order_in_words(order)}: this is no order that is prepared")
            case _:
                return self._for_pools_or_tasks(order, given)

    def _for_pools_or_tasks(self, order: ToPoolsOrTasks, given: co.GivenOrder) -> PreparedOrder:
        match order:
            case co.PausePools() | co.ResumePools():
                return self.pools.pause(order, given)
            case co.MoveWorkers():
                return self.pools.move(order)
            case co.SubmitTask():
                return self.tasks.submit(order, given)
            case co.CancelTasks():
                return self.tasks.cancel(order, given)
            case co.RankTasks():
                return self.tasks.rank(order)
            case _:
                assert_never(order)


def check_role(given: co.GivenOrder) -> None:
    """Refuse an order that its giver's role does not allow, not even as a proposal.

    Raises:
        UsageError: it does not.
    """
    if includes(given.role, "steer"):
        return
    what = co.order_in_words(given.order)
    if not includes(given.role, "propose"):
        raise UsageError(
            f"{given.by} has the role {given.role!r}, which may only look: to {what} takes the "
            "role 'steer', and to propose it the role 'propose'"
        )
    if isinstance(given.order, co.Answer):
        raise UsageError(
            f"{given.by} has the role {given.role!r}, which may propose orders but answer no "
            "questions: that takes the role 'steer'"
        )
