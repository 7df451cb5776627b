"""The life of two predictions on real prices: predict, wait a month, look back, predict again.

    python examples/prediction_life.py                            # in memory
    python examples/prediction_life.py sqlite:///predictions.db

Two agents predict next month's return of four US shares from the month before: one expects it to go
on, the other expects most of it back. Their weights decide whom the recommended allocation follows,
and follow from who was right.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from statistics import fmean, stdev

import quantkeep
from quantkeep.predictions import Portfolio, Prediction, PredictionStore, Retrospection, as_decimal
from quantkeep_plugins.demo.prices import trading_days

USER = "marv"
MONTH = 21  # trading days
YEAR = 252
FIRST, SECOND = date(2012, 10, 1), date(2012, 10, 31)
SHARES = {"AAPL": 60, "GOOG": 50, "IBM": 150, "MSFT": 1000}
CASH = Decimal(20_000)
AGENTS = {"trend_agent": 1.0, "reversal_agent": -0.7}  # what each expects of the last month

Closes = Mapping[str, Sequence[float]]


def main(url: str) -> None:
    """Both runs, on the keep at *url*."""
    with quantkeep.open(url) as keep:
        store = keep.predictions
        store.save_user(USER, name="Marv", profile="growth", flow="growth")
        first = predict(store, FIRST)
        say(f"{FIRST}: {first.prediction_id} expects {first.expected_return:+.2%} in a month")

        (waiting,) = store.pending(USER, older_than=30, as_of=SECOND)
        looked_back = look_back(store, waiting, SECOND)
        result = looked_back.result
        say(f"{SECOND}: it came to {result.actual_return:+.2%}, error {result.return_error:+.2%}")
        for agent in looked_back.agents:
            say(f"  {agent.agent_name}: {agent.accuracy_rate:.0%} right, "
                f"weight {agent.recommended_weight:.3f} from now on")  # fmt: skip
        store.adopt_weights(USER)

        second = predict(store, SECOND)
        say(f"{SECOND}: {second.prediction_id} expects {second.expected_return:+.2%}, knowing "
            f"{second.snapshot_data}")  # fmt: skip
        for month in store.calibration(USER, by=("month",)):
            say(f"calibration of {month.group[0]}: bias {month.error:+.2%}")


def say(line: str) -> None:
    print(line)


# -- a run of the flow: snapshot, prediction, report ---


def predict(store: PredictionStore, day: date) -> Prediction:
    """One run: what is held today, what the agents expect, what is recommended, the report."""
    portfolio = snapshot(store, day)
    weights = agent_weights(store)
    opinions = {agent: expectations(day, sign) for agent, sign in AGENTS.items()}
    target = allocation(opinions, weights)
    expected = sum(weights[a] * portfolio_return(target, opinions[a]) for a in opinions)
    history = store.recent_predictions(USER, limit=3)
    made = store.save_prediction(
        user_id=USER,
        prediction_date=day,
        input_portfolio_id=portfolio.portfolio_id,
        recommended_strategy="Follow the better agent",
        target_allocation=target,
        expected_metrics={"return": as_decimal(expected)},
        snapshot_data={"agent_weights": weights, "errors": past_errors(store, history)},
    )
    for agent, opinion in opinions.items():
        store.save_agent_prediction(
            prediction_id=made.id,
            layer="strategy",
            agent_name=agent,
            agent_weight=as_decimal(weights[agent]),
            prediction_data={"expected": opinion},
            expected_return=as_decimal(portfolio_return(target, opinion)),
        )
    lines = [f"# Recommendation of {day}", *(f"- {t}: {w:.1%}" for t, w in target.items())]
    path = f"outputs/reports/{day}_{USER}_growth_report.md"
    return store.attach_report(made.id, markdown="\n".join(lines), path=path).record


def snapshot(store: PredictionStore, day: date) -> Portfolio:
    """What is held on *day*, at its closing prices."""
    today = next(d for d in trading_days() if d.date == day)
    holdings = {
        ticker: {"shares": shares, "value": today.bars[ticker].close * shares}
        for ticker, shares in SHARES.items()
    }
    held = {**holdings, "cash": {"value": CASH}}
    return store.save_portfolio(user_id=USER, snapshot_date=day, holdings=held).record


def agent_weights(store: PredictionStore) -> dict[str, float]:
    """The weights in use; equal ones before anybody was judged."""
    known = {a.agent_name: a.current_weight for a in store.agents(USER)}
    return {agent: float(known.get(agent) or 1 / len(AGENTS)) for agent in AGENTS}


def expectations(day: date, sign: float) -> dict[str, float]:
    """Next month's return of each share, read from the last month's with *sign*."""
    closes = closes_until(day, MONTH + 1)
    return {ticker: sign * (c[-1] / c[0] - 1) for ticker, c in closes.items()}


def allocation(
    opinions: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]
) -> dict[str, float]:
    """Equal parts of the shares expected to rise, by the agents' weighted word; else cash."""
    merit = {t: sum(weights[a] * opinions[a][t] for a in opinions) for t in SHARES}
    rising = [ticker for ticker, value in merit.items() if value > 0] or [*SHARES]
    return {"cash": 0.1, **{ticker: 0.9 / len(rising) for ticker in rising}}


def past_errors(store: PredictionStore, history: Sequence[Prediction]) -> dict[str, Decimal | None]:
    """How far the predictions before this one were off."""
    results = {p.prediction_id: store.result(p.prediction_id) for p in history}
    return {name: result.return_error for name, result in results.items() if result}


# -- looking back ---


def look_back(store: PredictionStore, prediction: Prediction, day: date) -> Retrospection:
    """What came of *prediction* until *day*: result, evaluations and weights, as one commit."""
    held = prediction.target_allocation or {}
    curve = equity_curve(held, prediction.prediction_date, day)
    daily = [after / before - 1 for before, after in pairwise(curve)]
    actual = curve[-1] - 1
    scores = {
        said.agent_prediction_id: accuracy(said.expected_return, actual)
        for said in store.agent_predictions(prediction.prediction_id)
    }
    by_agent = {
        said.agent_name: {"accuracy": scores[said.agent_prediction_id]}
        for said in store.agent_predictions(prediction.prediction_id)
    }
    volatility = stdev(daily) * YEAR**0.5
    return store.retrospect(
        prediction.prediction_id,
        end_date=day,
        actual_return=as_decimal(actual),
        actual_volatility=as_decimal(volatility),
        actual_sharpe=as_decimal(fmean(daily) * YEAR / volatility),
        actual_max_dd=as_decimal(drawdown(curve)),
        prediction_accuracy=accuracy(prediction.expected_return, actual),
        agent_attribution=by_agent,
        evaluations={name: {"accuracy_score": score} for name, score in scores.items()},
        agent_scores=by_agent,
    )


def accuracy(expected: Decimal | None, actual: float) -> Decimal:
    """1 for the very return, half at five percent beside it, towards 0 beyond."""
    return as_decimal(1 / (1 + abs(float(expected or 0) - actual) / 0.05))


def equity_curve(held: Mapping[str, float], start: date, end: date) -> list[float]:
    """The worth of one dollar in *held*, day by day; what is not in shares is cash."""
    days = [d for d in trading_days() if start <= d.date <= end]
    shares = {t: w for t, w in held.items() if t != "cash"}
    cash = 1 - sum(shares.values())
    first = days[0].bars
    return [
        cash + sum(w * float(d.bars[t].close / first[t].close) for t, w in shares.items())
        for d in days
    ]


def drawdown(curve: Sequence[float]) -> float:
    """The deepest fall from a peak, as a fraction that is not positive."""
    peak, deepest = curve[0], 0.0
    for worth in curve:
        peak = max(peak, worth)
        deepest = min(deepest, worth / peak - 1)
    return deepest


def portfolio_return(held: Mapping[str, float], returns: Mapping[str, float]) -> float:
    return sum(weight * returns.get(ticker, 0.0) for ticker, weight in held.items())


def closes_until(day: date, count: int) -> Closes:
    """The last *count* closes of each share, *day* included."""
    days = [d for d in trading_days() if d.date <= day][-count:]
    return {ticker: [float(d.bars[ticker].close) for d in days] for ticker in SHARES}


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "memory://")
