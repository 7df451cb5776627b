"""The shapes of the documents in this store, held to when a record is made (MARA-5, MARA-8)."""

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Final, Literal

from quantkeep.errors import InvalidValue
from quantkeep.predictions.figures import MONEY, ROOM, as_decimal
from quantkeep.query import exact_sum

CASH: Final = "cash"


def check_mapping(record: str, field: str, document: Any) -> None:
    """Refuse a document that has no names, such as a list; ``None`` is an absent one."""
    if document is not None and not isinstance(document, Mapping):
        raise InvalidValue(
            f"is of type {type(document).__name__}",
            record=record, field=field, value=document, expected="a mapping",
        )  # fmt: skip


def check_holdings(record: str, holdings: Any) -> None:
    """Hold *holdings* to ``{ticker: {"shares", "value", ...}, "cash": {"value"}}``.

    Raises:
        InvalidValue: names the holding and what it lacks.
    """
    check_mapping(record, "holdings", holdings)
    for ticker, holding in (holdings or {}).items():
        place = f"holdings[{ticker!r}]"
        check_mapping(record, place, holding)
        for name in ("value",) if ticker == CASH else ("shares", "value"):
            check_number(record, f"{place}.{name}", (holding or {}).get(name))


def check_allocation(record: str, field: str, allocation: Any) -> None:
    """Hold *allocation* to ``{ticker: weight}``."""
    check_mapping(record, field, allocation)
    for ticker, weight in (allocation or {}).items():
        check_number(record, f"{field}[{ticker!r}]", weight)


def check_number(record: str, field: str, number: Any) -> None:
    """Refuse what is no finite int, float or Decimal."""
    if type(number) not in (int, float, Decimal) or not isfinite(number):
        said = "is required" if number is None else f"cannot be {number!r}"
        raise InvalidValue(
            said, record=record, field=field, value=number, expected="a finite number"
        )


def check_sign(record: str, field: str, number: Any, sign: Literal["negative", "positive"]) -> None:
    """Refuse a figure of the *sign* it must not have: a drawdown of 0.25 is -0.25 (Z-24)."""
    wrong = isinstance(number, Decimal) and (number > 0 if sign == "positive" else number < 0)
    if wrong:
        raise InvalidValue(
            f"cannot be {number}",
            record=record, field=field, value=number, expected=f"a Decimal that is not {sign}",
        )  # fmt: skip


def check_actions(record: str, field: str, actions: Any) -> None:
    """Hold *actions* to ``[{"action", "ticker", ...}]``."""
    if actions is None:
        return
    if not isinstance(actions, list | tuple):
        raise InvalidValue(
            f"is of type {type(actions).__name__}",
            record=record, field=field, value=actions, expected="a list of actions",
        )  # fmt: skip
    for place, action in enumerate(actions):
        if not isinstance(action, Mapping) or not {"action", "ticker"} <= set(action):
            raise InvalidValue(
                "is not an action", record=record, field=f"{field}[{place}]", value=action,
                expected='a mapping with "action" and "ticker"',
            )  # fmt: skip


def check_list(record: str, field: str, items: Any) -> None:
    """Refuse a document that is no list; ``None`` is an absent one."""
    if items is not None and not isinstance(items, list | tuple):
        raise InvalidValue(
            f"is of type {type(items).__name__}",
            record=record, field=field, value=items, expected="a list",
        )  # fmt: skip


def allocation_of(holdings: Mapping[str, Any]) -> dict[str, float]:
    """Each holding's part of the whole, as a float (Z-20).

    Raises:
        InvalidValue: the holdings are worth nothing together, so that parts have no meaning.
    """
    values = {ticker: as_decimal(holding["value"]) for ticker, holding in holdings.items()}
    total = exact_sum([*values.values(), Decimal(0)])
    if values and not total:
        raise InvalidValue(
            "cannot be derived: the holdings are worth 0 together",
            record="Portfolio", field="allocation", value=None, expected="allocation= with weights",
        )  # fmt: skip
    return {ticker: float(ROOM.divide(value, total)) for ticker, value in values.items()}


def value_of(holdings: Mapping[str, Any]) -> Decimal | None:
    """What the holdings are worth together, if a column of cents holds it exactly."""
    precision, scale = MONEY
    total = exact_sum([*(as_decimal(h["value"]) for h in holdings.values()), Decimal(0)])
    if abs(total) >= 10 ** (precision - scale):
        return None
    cents: Decimal = total.quantize(Decimal(1).scaleb(-scale), context=ROOM)
    return cents if cents == total else None
