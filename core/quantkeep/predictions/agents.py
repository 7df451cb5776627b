"""What each agent said of a prediction, and who the agents are."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from quantkeep.batch import ANYTHING, Expectation
from quantkeep.predictions.figures import ratio, share
from quantkeep.predictions.forecasts import REGIMES, Prediction
from quantkeep.predictions.part import Part, Saved, natural_id, numbered
from quantkeep.predictions.shapes import check_allocation, check_list, check_mapping
from quantkeep.query import Condition, Exists, where
from quantkeep.records import Record, field, record
from quantkeep.store import PendingBatch

LAYERS: Final = ("macro", "research", "strategy", "rebalancing")


@record("agent_personas", key=("persona_id",), unique=[("persona_name",)])
class AgentPersona(Record):
    """A character that agents play (MARA-U3)."""

    persona_id: str
    persona_name: str
    display_name: str | None = None
    description: str | None = None
    investment_philosophy: str | None = None
    applicable_layers: list[Any] | None = field(default=None, doc="names of layers")
    config_file: str | None = None
    system_prompt_file: str | None = None
    default_weight: Decimal | None = ratio("weight, part of 1")
    sensitivity: Decimal | None = ratio("factor on what the persona reacts to")
    created_by: str | None = None
    is_active: bool = True

    def __attrs_post_init__(self) -> None:
        check_list(type(self).__name__, "applicable_layers", self.applicable_layers)


@record(
    "agent_predictions",
    key=("agent_prediction_id",),
    stream=("user_id",),
    immutable=True,
    indexes=[("layer", "agent_name"), ("user_id",)],
)
class AgentPrediction(Record):
    """One agent's part in a prediction (MARA-U1)."""

    agent_prediction_id: str
    prediction_id: str = field(references="predictions", index=True)
    user_id: str = field(references="users")
    layer: str = field(choices=LAYERS, extensible=True)
    agent_name: str
    agent_persona: str | None = None
    agent_weight: Decimal | None = ratio("weight the agent had, part of 1")
    prediction_data: dict[str, Any] = field(doc="all that the agent said")
    market_regime: str | None = field(default=None, choices=REGIMES, extensible=True)
    sector_outlook: dict[str, Any] | None = field(default=None, doc="{sector: fraction}")
    confidence_score: Decimal | None = share("from 0 to 1")
    recommended_allocation: dict[str, Any] | None = field(default=None, doc="{ticker: weight}")
    expected_return: Decimal | None = ratio("fraction, signed")
    expected_risk: Decimal | None = ratio("fraction per year")
    opportunities: list[Any] | None = None
    suggested_actions: list[Any] | None = None

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        check_mapping(name, "prediction_data", self.prediction_data)
        check_mapping(name, "sector_outlook", self.sector_outlook)
        check_allocation(name, "recommended_allocation", self.recommended_allocation)
        check_list(name, "opportunities", self.opportunities)
        check_list(name, "suggested_actions", self.suggested_actions)


class Agents(Part):
    """The agents of a prediction store, and what they predicted."""

    def save_agent_prediction(
        self,
        *,
        prediction_id: str,
        layer: str,
        agent_name: str,
        prediction_data: dict[str, Any],
        agent_persona: str | None = None,
        agent_weight: Decimal | None = None,
        market_regime: str | None = None,
        sector_outlook: dict[str, Any] | None = None,
        confidence_score: Decimal | None = None,
        recommended_allocation: dict[str, Any] | None = None,
        expected_return: Decimal | None = None,
        expected_risk: Decimal | None = None,
        opportunities: list[Any] | None = None,
        suggested_actions: list[Any] | None = None,
        agent_prediction_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved[AgentPrediction]:
        """Store what one agent said; the same again adds nothing (MARA-U1).

        Args:
            prediction_id: the prediction it took part in; must be stored.
            layer: ``"macro"``, ``"research"``, ``"strategy"`` or ``"rebalancing"``.
            agent_name: the agent.
            prediction_data: all that it said.
            agent_persona: the character it played.
            agent_weight: the weight it had.
            market_regime: the regime it saw.
            sector_outlook: what it expected of sectors.
            confidence_score: how sure it was, from 0 to 1.
            recommended_allocation: the weights it wanted.
            expected_return: fraction, signed.
            expected_risk: fraction per year.
            opportunities: what it found.
            suggested_actions: what it would do.
            agent_prediction_id: left out, ``{prediction}/{layer}/{agent}``, with ``_2`` ... after
                it where the agent spoke again.
            extra: fields that your own extension of the record adds.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Raises:
            InvalidValue: a value does not fit its field.
            InvalidReference: there is no such prediction.
            AlreadyExists: other content is stored under *agent_prediction_id*.
        """
        owner = self._referred(AgentPrediction, Prediction, prediction_id, batch=batch)
        said = {
            "prediction_id": prediction_id,
            "user_id": owner.user_id,
            "layer": layer,
            "agent_name": agent_name,
            "agent_persona": agent_persona,
            "agent_weight": agent_weight,
            "prediction_data": prediction_data,
            "market_regime": market_regime,
            "sector_outlook": sector_outlook,
            "confidence_score": confidence_score,
            "recommended_allocation": recommended_allocation,
            "expected_return": expected_return,
            "expected_risk": expected_risk,
            "opportunities": opportunities,
            "suggested_actions": suggested_actions,
        }
        base = natural_id(prediction_id, layer, agent_name)

        def make(number: int) -> AgentPrediction:
            name = agent_prediction_id or numbered(base, number)
            return self._new(AgentPrediction, {**said, "agent_prediction_id": name}, extra or {})

        if agent_prediction_id is not None:
            return self._save(make(1), op_id=op_id, batch=batch)
        return self._save_numbered(make, op_id=op_id, batch=batch)

    def agent_prediction(self, agent_prediction_id: str) -> AgentPrediction | None:
        """One agent's part in a prediction."""
        return self.table(AgentPrediction).get(agent_prediction_id)

    def agent_predictions(
        self, prediction_id: str, *, layer: str | None = None, agent_name: str | None = None
    ) -> list[AgentPrediction]:
        """What the agents said of a prediction, in the order it was stored."""
        asked = where(prediction_id=prediction_id, layer=layer, agent_name=agent_name)
        return self.table(AgentPrediction).list(*asked, order=("revision",))

    def pending_evaluations(
        self,
        user_id: str | None = None,
        *,
        older_than: timedelta | int = 0,
        as_of: date | None = None,
    ) -> list[AgentPrediction]:
        """Agents' predictions that nobody has evaluated yet (MARA-U4).

        Args:
            user_id: of one user only.
            older_than: at least so old (days, or a timedelta of whole days) by the prediction's
                date; a prediction exactly so old is taken. Left out, and without *as_of*, dates do
                not matter.
            as_of: the day to count back from; today in UTC, by the store's clock, if left out.
        """
        evaluated = self._home.collections["agent_evaluations"]
        predictions = self.table(Prediction).collection
        asked: tuple[Condition, ...] = (
            *where(user_id=user_id),
            Exists(evaluated, (("agent_prediction_id", "agent_prediction_id"),), negate=True),
            Exists(
                predictions,
                (("prediction_id", "prediction_id"),),
                self._aged(as_of, older_than),
            ),
        )
        return self.table(AgentPrediction).list(*asked, order=("user_id", "revision"))

    # -- personas --------------------------------------------------------------------------------

    def save_persona(
        self,
        persona: AgentPersona,
        *,
        expect: Expectation = ANYTHING,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved[AgentPersona]:
        """Store a persona, or what has changed of it (MARA-U3).

        Raises:
            AlreadyExists: another persona has its name.
        """
        put = self.table(AgentPersona).put(persona, expect)
        return Saved(persona.persona_id, persona, self._commit(put, op_id=op_id, batch=batch))

    def persona(self, persona_name: str) -> AgentPersona | None:
        """The persona of that name."""
        return self.table(AgentPersona).first(*where(persona_name=persona_name))

    def personas(self, *, is_active: bool | None = None) -> list[AgentPersona]:
        """All personas, or those that are (not) active, by id."""
        return self.table(AgentPersona).list(*where(is_active=is_active))
