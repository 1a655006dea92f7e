"""The view of a campaign that runs, by which a look is answered."""

from __future__ import annotations

from steerio.campaign.calls import Calls
from steerio.campaign.prepared_orders import OrderedRun
from steerio.campaign.steered_values import parameters_of
from steerio.model import campaign_orders as co


def view_of(run: OrderedRun, questions: list[co.QuestionView], at_event: int) -> co.CampaignView:
    """Return a campaign at a glance.

    Args:
        run: its run.
        questions: those that are open.
        at_event: the number of the last event that its answer may be based on.
    """
    campaign = run.campaign
    parameters = {
        name: co.ParameterView(
            getattr(campaign, name),
            each.default,
            each.limits.kind.__name__,
            str(each.limits),
            each.help,
        )
        for name, each in parameters_of(type(campaign)).items()
    }
    agents: dict[str, co.AgentView] = {}
    for calls in run.dealing.calls:
        name = calls.name.rpartition(".")[2]
        before = agents.get(name, co.AgentView("", 0, 0))
        agents[name] = co.AgentView(
            " ".join(filter(None, (before.trigger, calls.trigger.name))),
            before.queued + calls.pending,
            before.under_way + _under_way(run, calls),
            calls.paused is not None,
        )
    name = type(campaign).__name__
    return co.CampaignView(name, parameters, questions, agents, run.stopping, at_event)


def _under_way(run: OrderedRun, calls: Calls) -> int:
    if calls.trigger.kind == "agent":
        return run.agents.under_way(calls)
    return calls.busy
