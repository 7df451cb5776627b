"""``quantkeep predictions retrospect``: how a prediction turned out."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from quantkeep.cli.commands.predictions._options import Day, Exact
from quantkeep.cli.listing import Listing
from quantkeep.cli.options import Output, examples, output_options, url_argument
from quantkeep.columns import Column

RESULT: Final = (
    "result_id", "prediction_id", "user_id", "start_date", "end_date", "actual_return",
    "return_error", "prediction_accuracy",
)  # fmt: skip


@click.command(
    short_help="Store how a prediction turned out.",
    epilog=examples(
        "predictions retrospect sqlite:///mara.db -p marv_2025-01-17 --end-date 2025-02-17 "
        "--actual-return 0.06",
        "predictions retrospect sqlite:///mara.db -p marv_2025-01-17 --end-date 2025-02-17 "
        "--actual-return 0.06 --accuracy 0.67 --attribution agents.json --weigh",
    ),
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
