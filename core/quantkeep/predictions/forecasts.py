"""Predictions: what was expected of a portfolio, on which day, and why."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

import attrs

from quantkeep.batch import PRESENT, Receipt, Write
from quantkeep.contract import lost
from quantkeep.errors import InvalidReference, InvalidValue
from quantkeep.predictions.figures import ratio
from quantkeep.predictions.part import Part, Saved, at, numbered, unchanged
from quantkeep.predictions.portfolios import Portfolio
from quantkeep.predictions.shapes import check_actions, check_allocation, check_mapping, check_sign
from quantkeep.predictions.users import User
from quantkeep.query import Condition, Where, where
from quantkeep.records import Record, field, record
from quantkeep.store import PendingBatch

CHRONOLOGICAL: Final = ("prediction_date", "sequence", "revision")
METRICS: Final = ("expected_return", "expected_volatility", "expected_sharpe", "expected_max_dd")
REGIMES: Final = ("bull", "bear", "sideways", "volatile")


@record(
    "predictions",
    key=("prediction_id",),
    stream=("user_id",),
    unique=[("user_id", "prediction_date", "flow", "sequence")],
    indexes=[("user_id", "prediction_date")],
)
class Prediction(Record):
    """What was expected, from which portfolio, and what was recommended (MARA-6).

    Figures are signed fractions (Z-24): 0.08 is eight percent, a drawdown of a quarter is -0.25.
    """

    prediction_id: str
    user_id: str = field(references="users")
    flow: str = field(doc="the program that predicted")
    prediction_date: date
    sequence: int = field(
        default=1, between=(1, 2**31), doc="which prediction of that day, from 1 (Z-21)"
    )
    input_portfolio_id: str = field(references="portfolios", index=True)
    market_regime: str | None = field(default=None, choices=REGIMES, extensible=True)
    macro_insights: dict[str, Any] | None = field(
        default=None, doc='such as {"sector_outlook": {sector: fraction}, "themes": [...]}'
    )
    recommended_strategy: str | None = None
    target_allocation: dict[str, Any] | None = field(default=None, doc="{ticker or cash: weight}")
    expected_return: Decimal | None = ratio("fraction, signed: 0.08 is 8 %")
    expected_volatility: Decimal | None = ratio("fraction per year, not negative")
    expected_sharpe: Decimal | None = ratio("ratio, signed")
    expected_max_dd: Decimal | None = ratio("fraction, not positive: -0.25")
    rebalancing_method: str | None = None
    rebalancing_actions: list[Any] | None = field(
        default=None, doc='[{"action", "ticker", "amount"}] (MARA-8)'
    )
    report_markdown: str | None = field(default=None, doc="attached after the fact")
    report_path: str | None = field(default=None, doc="where the report was also written")
    flow_execution_id: str | None = field(default=None, doc="the run of the flow (MARA-U4)")
    snapshot_data: dict[str, Any] | None = field(
        default=None, doc="what the flow saw, or a source said beside these fields (MARA-U4)"
    )

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        check_allocation(name, "target_allocation", self.target_allocation)
        check_actions(name, "rebalancing_actions", self.rebalancing_actions)
        check_mapping(name, "macro_insights", self.macro_insights)
        check_mapping(name, "snapshot_data", self.snapshot_data)
        check_sign(name, "expected_volatility", self.expected_volatility, "negative")
        check_sign(name, "expected_max_dd", self.expected_max_dd, "positive")


class Forecasts(Part):
    """The predictions of a prediction store."""

    def save_prediction(
        self,
        *,
        user_id: str,
        prediction_date: date,
        input_portfolio_id: str,
        flow: str | None = None,
        market_regime: str | None = None,
        macro_insights: dict[str, Any] | None = None,
        recommended_strategy: str | None = None,
        target_allocation: dict[str, Any] | None = None,
        expected_metrics: Mapping[str, Decimal | None] | None = None,
        rebalancing_method: str | None = None,
        rebalancing_actions: list[Any] | None = None,
        report_markdown: str | None = None,
        report_path: str | None = None,
        flow_execution_id: str | None = None,
        snapshot_data: dict[str, Any] | None = None,
        prediction_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved[Prediction]:
        """Store a prediction; the same prediction again adds nothing (MARA-18, MARA-26).

        Args:
            user_id: for whom; must be stored.
            prediction_date: the day it was made on.
            input_portfolio_id: the snapshot it was made from; must be stored, and the user's.
            flow: the program that predicted; the user's if left out.
            market_regime: ``"bull"``, ``"bear"``, ``"sideways"``, ``"volatile"``, or what the keep
                was opened with.
            macro_insights: what was made of the economy.
            recommended_strategy: its name.
            target_allocation: the weights recommended, by ticker.
            expected_metrics: ``{"expected_return": Decimal("0.09"), ...}``, or ``"return"`` alone;
                also volatility, sharpe, max_dd. Signed fractions (Z-24), Decimals: see
                :func:`quantkeep.predictions.as_decimal` for floats.
            rebalancing_method: how to get there.
            rebalancing_actions: ``[{"action": "buy", "ticker": "XLK", "amount": 5000000}]``.
            report_markdown: the report, if there is one yet; see :meth:`attach_report`.
            report_path: where it was also written.
            flow_execution_id: the run of the flow.
            snapshot_data: what the flow saw.
            prediction_id: left out, ``{user}_{date}``, with ``_2``, ``_3`` ... after it for further
                predictions of that day (Z-21). Further ones in one uncommitted batch need an id of
                their own.
            extra: fields that your own extension of the record adds.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Raises:
            InvalidValue: a value does not fit its field.
            InvalidReference: user or portfolio are not stored, or do not belong together.
            AlreadyExists: other content is stored under *prediction_id*.
        """
        user = self._referred(Prediction, User, user_id, batch=batch)
        self._check_owner(user_id, input_portfolio_id, batch)
        said = {
            "user_id": user_id,
            "flow": user.flow if flow is None else flow,
            "prediction_date": prediction_date,
            "input_portfolio_id": input_portfolio_id,
            "market_regime": market_regime,
            "macro_insights": macro_insights,
            "recommended_strategy": recommended_strategy,
            "target_allocation": target_allocation,
            **_metrics(expected_metrics or {}),
            "rebalancing_method": rebalancing_method,
            "rebalancing_actions": rebalancing_actions,
            "report_markdown": report_markdown,
            "report_path": report_path,
            "flow_execution_id": flow_execution_id,
            "snapshot_data": snapshot_data,
        }

        def make(number: int) -> Prediction:
            name = prediction_id or numbered(f"{user_id}_{prediction_date}", number)
            return self._new(
                Prediction, {**said, "prediction_id": name, "sequence": number}, extra or {}
            )

        if prediction_id is not None:
            return self._save_named(
                prediction_id, make, op_id=op_id, batch=batch, same=_with_report
            )
        return self._save_numbered(make, op_id=op_id, batch=batch, same=_with_report)

    def _check_owner(self, user_id: str, portfolio_id: str, batch: PendingBatch | None) -> None:
        portfolio = self._referred(Prediction, Portfolio, portfolio_id, batch=batch)
        if portfolio.user_id != user_id:
            raise InvalidReference(
                f"predictions.input_portfolio_id refers to portfolios {portfolio_id!r}, which is "
                f"a snapshot of {portfolio.user_id!r}, not of {user_id!r}"
            )

    def attach_report(
        self,
        prediction_id: str,
        *,
        markdown: str,
        path: str | None = None,
        expect: int | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved[Prediction]:
        """Add the report to a prediction that is stored, or replace it (MARA-27).

        Args:
            prediction_id: the prediction.
            markdown: the text itself.
            path: where it was also written; what is stored stays if left out.
            expect: the revision the prediction must be at; left out, whichever it is at.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Raises:
            NotFound: there is no such prediction.
            Conflict: it is not at revision *expect*.
        """

        def decide(before: Receipt | None) -> tuple[list[Write], Prediction]:
            known = self._fetch(Prediction, prediction_id, batch=batch)
            new = known.replace(report_markdown=markdown, report_path=path or known.report_path)
            if before is not None or (expect is None and new == known):
                return [], known
            if expect is not None and expect != known.revision:
                raise lost(Prediction.collection, (prediction_id,), expect, known.revision)
            return [self.table(Prediction).put(new, at(known))], new

        new, receipt = self._change(decide, op_id=op_id, batch=batch)
        written = receipt.outcomes or batch
        return Saved(prediction_id, new, receipt if written else unchanged(new))

    def prediction(self, prediction_id: str) -> Prediction | None:
        """The prediction known by its id (MARA-19)."""
        return self.table(Prediction).get(prediction_id)

    def latest_prediction(self, user_id: str, *, flow: str | None = None) -> Prediction | None:
        """The user's newest prediction, by its day and sequence (MARA-20, MARA-28)."""
        return self.table(Prediction).last(*where(user_id=user_id, flow=flow), order=CHRONOLOGICAL)

    def recent_predictions(
        self, user_id: str, *, limit: int = 3, flow: str | None = None
    ) -> list[Prediction]:
        """The newest *limit* predictions, oldest of them first (MARA-31, Z-38)."""
        asked = where(user_id=user_id, flow=flow)
        return self.table(Prediction).list(*asked, order=CHRONOLOGICAL, limit=limit, take="last")

    def prediction_history(
        self,
        user_id: str | None = None,
        *,
        flow: str | None = None,
        since: date | None = None,
        until: date | None = None,
        limit: int | None = None,
    ) -> list[Prediction]:
        """Predictions of the days *since* to *until*, both included; the newest *limit* of them."""
        asked: list[Condition] = [*where(user_id=user_id, flow=flow)]
        asked += [Where("prediction_date", ">=", since)] if since else []
        asked += [Where("prediction_date", "<=", until)] if until else []
        take: Any = {"limit": limit, "take": "last"} if limit is not None else {}
        return self.table(Prediction).list(*asked, order=CHRONOLOGICAL, **take)

    def delete_prediction(
        self, prediction_id: str, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> Receipt:
        """Forget a prediction.

        Raises:
            StillReferenced: it has results, or agents took part in it.
            NotFound: there is no such prediction.
        """
        delete = self.table(Prediction).delete(prediction_id, expect=PRESENT)
        return self._commit(delete, op_id=op_id, batch=batch)


def _metrics(bundle: Mapping[str, Decimal | None]) -> dict[str, Decimal | None]:
    """The fields that the bundle of MARA-26 speaks of, by their full names."""
    full: dict[str, Decimal | None] = {}
    for said, value in bundle.items():
        name = said if said in METRICS else f"expected_{said}"
        if name not in METRICS or name in full:
            raise InvalidValue(
                "is given twice" if name in full else "is no expected metric",
                record=Prediction.__name__, field=f"expected_metrics[{said!r}]", value=value,
                expected=", ".join(METRICS),
            )  # fmt: skip
        full[name] = value
    return full


def _with_report(new: Prediction, known: Prediction) -> Prediction:
    """*new* with the report that was attached to *known* meanwhile."""
    return attrs.evolve(
        new,
        report_markdown=new.report_markdown or known.report_markdown,
        report_path=new.report_path or known.report_path,
    )
