"""How good each agent has been, and what weight it deserves."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

import attrs

from quantkeep.batch import ABSENT, AtRevision, Receipt, Write
from quantkeep.errors import InvalidValue, NotFound
from quantkeep.predictions.evaluations import AgentEvaluation
from quantkeep.predictions.figures import RATIO, ROOM, as_decimal, months_before, ratio, share
from quantkeep.predictions.part import Part, natural_id
from quantkeep.predictions.results import PerformanceResult
from quantkeep.predictions.shapes import check_mapping, check_number
from quantkeep.query import Measure, Tally, Where, exact_sum, where
from quantkeep.records import Record, field, record
from quantkeep.store import PendingBatch

RECENT_MONTHS: Final = 6
_STEP: Final = Decimal(1).scaleb(-RATIO[1])  # the last place of a column of ratios


@record(
    "agent_performance", key=("record_id",), stream=("user_id",), unique=[("user_id", "agent_name")]
)
class AgentPerformance(Record):
    """An agent's record with a user, over all predictions it was judged on (MARA-12)."""

    record_id: str
    user_id: str = field(references="users")
    agent_name: str
    total_predictions: int = field(default=0, between=(0, 2**62))
    accurate_predictions: int = field(default=0, between=(0, 2**62))
    accuracy_rate: Decimal | None = share("accurate / total (MARA-33)")
    recent_accuracy: Decimal | None = share("mean accuracy of the last six months")
    current_weight: Decimal | None = ratio("weight in use, part of 1")
    recommended_weight: Decimal | None = ratio("weight by the last analysis, part of 1")

    def __attrs_post_init__(self) -> None:
        if not _consistent(self.accurate_predictions, self.total_predictions, self.accuracy_rate):
            raise InvalidValue(
                f"is {self.accuracy_rate} for {self.accurate_predictions} accurate predictions "
                f"of {self.total_predictions}",
                record=type(self).__name__, field="accuracy_rate", value=self.accuracy_rate,
                expected="accurate_predictions / total_predictions; None where there are none",
            )  # fmt: skip


Weigh = Callable[[Sequence[AgentPerformance]], Mapping[str, Decimal]]


def _consistent(accurate: Any, total: Any, rate: Any) -> bool:
    if type(accurate) is not int or type(total) is not int or type(rate) is not Decimal:
        return rate is None or type(rate) is not Decimal  # wrong types are the columns' to refuse
    if not rate.is_finite() or not 0 <= accurate <= total or not total:
        return False
    return abs(ROOM.subtract(rate, share_of(Decimal(accurate), total))) <= Decimal("1e-12")


def share_of(part: Decimal, whole: int) -> Decimal:
    """*part* / *whole*, to the last place that a column of ratios has."""
    return ROOM.divide(part, Decimal(whole)).quantize(_STEP, context=ROOM)


def by_accuracy(agents: Sequence[AgentPerformance]) -> dict[str, Decimal]:
    """Weights in proportion to ``(accurate + 1) / (total + 2)``, 1 together.

    Laplace's rule of succession: an agent that was right once is not yet right always.
    """
    merits = {
        a.agent_name: share_of(Decimal(a.accurate_predictions + 1), a.total_predictions + 2)
        for a in agents
    }
    whole = exact_sum([*merits.values()] or [Decimal(1)])
    return {name: ROOM.divide(m, whole).quantize(_STEP, context=ROOM) for name, m in merits.items()}


class Performances(Part):
    """The agents' records of a prediction store."""

    def agent_stats(self, user_id: str, agent_name: str) -> AgentPerformance | None:
        """The agent's record with this user (MARA-24)."""
        asked = where(user_id=user_id, agent_name=agent_name)
        return self.table(AgentPerformance).first(*asked)

    def agents(self, user_id: str) -> list[AgentPerformance]:
        """The records of all the user's agents, by name."""
        return self.table(AgentPerformance).list(*where(user_id=user_id), order=("agent_name",))

    def update_agent_weights(
        self,
        user_id: str,
        agent_scores: Mapping[str, Mapping[str, Any]],
        *,
        accurate_above: Decimal = Decimal("0.5"),
        weigh: Weigh = by_accuracy,
        as_of: date | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> tuple[list[AgentPerformance], Receipt]:
        """Count one more prediction for each agent, and weigh all the user's agents anew (MARA-30).

        Several analysts may do this at once: each one's scores are counted. Without an *op_id*
        calling it again counts again; under one that is known nothing is counted. To do it in one
        commit with the result, see :meth:`retrospect`.

        Args:
            user_id: whose agents.
            agent_scores: ``{agent: {"accuracy": 0.62}}``, from 0 to 1, as in a result's
                ``agent_attribution``; with ``"weight"``, the weight to be used from now on.
            accurate_above: an accuracy above this counts as an accurate prediction.
            weigh: makes ``recommended_weight`` of all the user's agents;
                :func:`quantkeep.predictions.by_accuracy` unless you have a better one.
            as_of: the day that recent accuracy reaches to; today in UTC if left out.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Returns:
            The records of all the user's agents as they are now, and the receipt.

        Raises:
            InvalidValue: a score lacks its accuracy, or has one outside 0 to 1.
            InvalidReference: there is no such user.
        """
        scores = {agent: score_of(agent, said) for agent, said in agent_scores.items()}

        def decide(before: Receipt | None) -> tuple[list[Write], list[AgentPerformance]]:
            if before is not None:
                return [], self.agents(user_id)
            day = as_of or self._today()
            recent = {agent: self._recent(user_id, agent, day) for agent in scores}
            return self._weighed(user_id, scores, recent, accurate_above, weigh)

        return self._change(decide, op_id=op_id, batch=batch)

    def adopt_weights(
        self, user_id: str, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> tuple[list[AgentPerformance], Receipt]:
        """Put the recommended weights of the user's agents into use.

        Raises:
            NotFound: no agent of this user has been scored.
        """

        def decide(before: Receipt | None) -> tuple[list[Write], list[AgentPerformance]]:
            stored = {a.agent_name: a for a in self.agents(user_id)}
            if not stored:
                raise NotFound(
                    f"agent_performance of {user_id!r} is not stored: score agents first"
                )
            if before is not None:
                return [], [*stored.values()]
            adopted = [a.replace(current_weight=a.recommended_weight) for a in stored.values()]
            return self._rewritten(stored, adopted), adopted

        return self._change(decide, op_id=op_id, batch=batch)

    def _weighed(
        self,
        user_id: str,
        scores: "Mapping[str, Score]",
        recent: Mapping[str, Sequence[Decimal]],
        accurate_above: Decimal,
        weigh: Weigh,
    ) -> tuple[list[Write], list[AgentPerformance]]:
        """The writes that count *scores* on top of what is stored now, and what will be stored."""
        stored = {a.agent_name: a for a in self.agents(user_id)}
        after = {**stored}
        for agent, score in scores.items():
            known = stored.get(agent) or self._unknown(user_id, agent)
            after[agent] = _counted(known, score, recent[agent], accurate_above)
        weights = weigh([after[name] for name in sorted(after)])
        final = [
            after[name].replace(
                recommended_weight=weights.get(name, after[name].recommended_weight)
            )
            for name in sorted(after)
        ]
        return self._rewritten(stored, final), final

    def _unknown(self, user_id: str, agent: str) -> AgentPerformance:
        named = {"record_id": natural_id(user_id, agent), "user_id": user_id, "agent_name": agent}
        return self._new(AgentPerformance, named, {})

    def _rewritten(
        self, stored: Mapping[str, AgentPerformance], final: Sequence[AgentPerformance]
    ) -> list[Write]:
        """Writes of what changed; what did not must still be as it was read, for it was weighed."""
        table = self.table(AgentPerformance)
        writes: list[Write] = []
        for agent in final:
            known = stored.get(agent.agent_name)
            if known is None:
                writes.append(table.put(agent, ABSENT))
                continue
            assert known.revision is not None
            expect = AtRevision(known.revision)
            unchanged = agent == known
            writes.append(
                table.require(agent.record_id, expect=expect)
                if unchanged
                else table.put(agent, expect)
            )
        return writes

    def _recent(self, user_id: str, agent: str, day: date) -> list[Decimal]:
        """The agent's accuracies in the months up to *day*: count and mean are what matters.

        Of its evaluations; where there are none, of what the results attribute to it.
        """
        first = months_before(day, RECENT_MONTHS)
        judged = Tally(
            measures=(Measure("count", "accuracy_score"), Measure("sum", "accuracy_score")),
            where=(
                *where(user_id=user_id, agent_name=agent),
                Where("evaluation_date", ">=", first),
                Where("evaluation_date", "<=", day),
            ),
        )
        ((count, total),) = self.table(AgentEvaluation).tally(judged)
        if count:
            return [ROOM.divide(total, Decimal(count))] * count
        results = self.table(PerformanceResult).list(
            *where(user_id=user_id), Where("end_date", ">=", first), Where("end_date", "<=", day)
        )
        return [a for r in results if (a := attributed(r.agent_attribution, agent)) is not None]


@attrs.frozen
class Score:
    """What one analysis says of an agent."""

    accuracy: Decimal
    weight: Decimal | None


def score_of(agent: str, said: Mapping[str, Any]) -> Score:
    """The score that ``{"accuracy": 0.62}`` speaks of; raises :class:`InvalidValue`."""
    place = f"agent_scores[{agent!r}]"
    check_mapping(AgentPerformance.__name__, place, said)
    field = f"{place}.accuracy"
    check_number(AgentPerformance.__name__, field, said.get("accuracy"))
    accuracy = as_decimal(said["accuracy"])
    if not 0 <= accuracy <= 1:
        raise InvalidValue(
            f"cannot be {accuracy}",
            record=AgentPerformance.__name__, field=field, value=accuracy,
            expected="a number from 0 to 1",
        )  # fmt: skip
    weight = said.get("weight")
    return Score(accuracy, None if weight is None else as_decimal(weight))


def attributed(attribution: Mapping[str, Any] | None, agent: str) -> Decimal | None:
    """The accuracy that a result attributes to an agent, if it does."""
    accuracy = (attribution or {}).get(agent, {}).get("accuracy")
    return None if accuracy is None else as_decimal(accuracy)


def _counted(
    known: AgentPerformance, score: Score, recent: Sequence[Decimal], accurate_above: Decimal
) -> AgentPerformance:
    total = known.total_predictions + 1
    accurate = known.accurate_predictions + (score.accuracy > accurate_above)
    return known.replace(
        total_predictions=total,
        accurate_predictions=accurate,
        accuracy_rate=share_of(Decimal(accurate), total),
        recent_accuracy=share_of(exact_sum(recent), len(recent))
        if recent
        else known.recent_accuracy,
        current_weight=known.current_weight if score.weight is None else score.weight,
    )
