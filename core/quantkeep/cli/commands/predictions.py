"""``quantkeep predictions``: list them, see which nobody looked back on, look back (MARA-38)."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import click

from quantkeep.cli.listing import Listing
from quantkeep.cli.options import Output, ParamType, examples, output_options, url_argument
from quantkeep.cli.stored import stored_keep
from quantkeep.cli.view import View
from quantkeep.columns import Column
from quantkeep.query import Condition, Exists, Where, where

VIEW: Final = View(
    "predictions",
    "predictions",
    "prediction_date",
    (
        "prediction_id", "user_id", "flow", "prediction_date", "market_regime",
        "recommended_strategy", "expected_return", "expected_volatility", "expected_max_dd",
    ),
)  # fmt: skip
RESULT: Final = (
    "result_id", "prediction_id", "user_id", "start_date", "end_date", "actual_return",
    "return_error", "prediction_accuracy",
)  # fmt: skip


class Day(ParamType[date]):
    """A date: 2025-01-17."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day: expected such as 2025-01-17", param, ctx)


class Exact(ParamType[Decimal]):
    """A decimal number, as it is written."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        try:
            return Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is no number: expected such as 0.06", param, ctx)


@click.group()
def predictions() -> None:
    """List predictions, see which are still to be looked back on, and look back."""


@predictions.command(
    "list",
    epilog=examples(
        "predictions list sqlite:///mara.db --user marv",
        "predictions list sqlite:///mara.db --since 2025-01-01 --limit 0 --output all.csv",
    ),
)
@url_argument
@click.option("--user", "-u", help="Only this user.")
@click.option("--flow", help="Only this flow.")
@click.option("--since", type=Day(), help="From this day on.")
@click.option("--until", type=Day(), help="Up to this day, it included.")
@click.option(
    "--limit", "-l", type=click.IntRange(min=0), default=100, show_default=True,
    help="The newest N; 0 for all.",
)  # fmt: skip
@output_options
def list_predictions(
    url: str | None,
    out: Output,
    *,
    user: str | None,
    flow: str | None,
    since: date | None,
    until: date | None,
    limit: int,
) -> None:
    """List predictions, newest last."""
    days = (Where("prediction_date", ">=", since), Where("prediction_date", "<=", until))
    asked = (*where(user_id=user, flow=flow), *(day for day in days if day.value))
    with stored_keep(url) as keep:
        part, collection = keep.find("predictions", "predictions")
        out.show(VIEW.records(part, collection, asked, limit))


@predictions.command(
    epilog=examples(
        "predictions pending sqlite:///mara.db --older-than 30",
        "predictions pending sqlite:///mara.db --user marv --format json",
    )
)
@url_argument
@click.option("--user", "-u", help="Only this user.")
@click.option(
    "--older-than", type=click.IntRange(min=0), metavar="DAYS", help="At least so many days old."
)
@click.option("--as-of", type=Day(), help="The day to count back from; today in UTC if left out.")
@output_options
def pending(
    url: str | None, out: Output, user: str | None, older_than: int | None, as_of: date | None
) -> None:
    """List predictions without any result, oldest first."""
    with stored_keep(url) as keep:
        part, collection = keep.find("predictions", "predictions")
        _, results = keep.find("predictions", "performance_results")
        judged = Exists(results, (("prediction_id", "prediction_id"),), negate=True)
        aged = _aged(older_than, as_of)
        asked: tuple[Condition, ...] = (*where(user_id=user), judged, *aged)
        out.show(VIEW.records(part, collection, asked, limit=0))


def _aged(older_than: int | None, as_of: date | None) -> tuple[Where, ...]:
    if older_than is None and as_of is None:
        return ()
    day = as_of or datetime.now(UTC).date()
    newest = date.fromordinal(max(day.toordinal() - (older_than or 0), 1))
    return (Where("prediction_date", "<=", newest),)


@predictions.command(
    epilog=examples(
        "predictions retrospect sqlite:///mara.db -p marv_2025-01-17 --end-date 2025-02-17 "
        "--actual-return 0.06",
        "predictions retrospect sqlite:///mara.db -p marv_2025-01-17 --end-date 2025-02-17 "
        "--actual-return 0.06 --accuracy 0.67 --attribution agents.json --weigh",
    )
)
@url_argument
@click.option("--prediction", "-p", required=True, help="Its id.")
@click.option("--end-date", type=Day(), required=True, help="The day the analysis reaches to.")
@click.option("--actual-return", type=Exact(), required=True, help="Fraction, signed: 0.06.")
@click.option("--actual-volatility", type=Exact(), help="Fraction per year.")
@click.option("--actual-sharpe", type=Exact(), help="Ratio.")
@click.option("--actual-max-dd", type=Exact(), help="Fraction, not positive: -0.12.")
@click.option("--accuracy", type=Exact(), help="From 0 to 1.")
@click.option(
    "--attribution", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help='JSON: {agent: {"accuracy": 0.75, "impact": 0.02}}.',
)  # fmt: skip
@click.option(
    "--weigh", is_flag=True, help="Count the attributed accuracies, and weigh the agents."
)
@click.option("--op-id", help="Makes the command idempotent across changes.")
@output_options
def retrospect(
    url: str | None,
    out: Output,
    *,
    prediction: str,
    attribution: Path | None,
    accuracy: Decimal | None,
    weigh: bool,
    op_id: str | None,
    **figures: Any,
) -> None:
    """Store how a prediction turned out, in one commit with the agents' new weights.

    User, start date and the error of the return follow from the prediction. The same again adds
    nothing, and counts nothing.
    """
    import quantkeep

    told = _attribution(attribution)
    if weigh and not told:
        raise click.UsageError("--weigh needs --attribution with the agents' accuracies")
    with quantkeep.open(url, create=False) as keep:
        done = keep.predictions.retrospect(
            prediction,
            prediction_accuracy=accuracy,
            agent_attribution=told,
            agent_scores=told if weigh else None,
            op_id=op_id,
            **figures,
        )
        table = keep.predictions.table(type(done.result))
        row = table.seal(done.result).values
        columns: tuple[Column, ...] = table.collection.columns
    new = done.receipt.added and not done.receipt.replayed
    said = "stored" if new else "stored before, nothing was changed"
    agents = "".join(
        f"; {a.agent_name} {a.recommended_weight:.4f}"
        for a in done.agents
        if a.recommended_weight is not None
    )
    out.show(
        Listing(
            title="Retrospection", columns=columns, rows=[row], shown=RESULT, caption=said + agents
        )
    )


def _attribution(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        told = json.loads(file.read_bytes())
    except ValueError as error:
        raise click.BadParameter(f"{file} is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise click.BadParameter(f"{file} holds no object of agents")
    return told
