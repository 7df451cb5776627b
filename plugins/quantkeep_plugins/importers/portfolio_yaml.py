"""``inputs/{user}_current_portfolio.yaml``, brought into ``keep.predictions`` (Z-23)."""

from datetime import date
from pathlib import Path
from typing import Any, Final

from quantkeep import InvalidValue, Keep, NotFound
from quantkeep.errors import DriverMissing
from quantkeep.predictions import Portfolio, Saved, as_decimal

_SUFFIX: Final = "_current_portfolio"
_KNOWN: Final = ("user_id", "snapshot_date", "portfolio_type", "holdings", "allocation",
                 "total_value", "metadata")  # fmt: skip


def import_portfolio(
    path: str | Path, keep: Keep, *, snapshot_date: date | None = None, user_id: str | None = None
) -> Saved[Portfolio]:
    """Store the snapshot that a YAML file holds; the same file again adds nothing.

    The file is a mapping with ``holdings`` (``{SPY: {shares: 100, value: 45000}, cash: ...}``) and,
    if it says so, ``user_id``, ``snapshot_date``, ``portfolio_type``, ``allocation``,
    ``total_value`` and ``metadata``. It is read with the safe loader: it makes no objects.

    Args:
        path: the file.
        keep: where to; the user must be stored.
        snapshot_date: the day, if the file does not say it.
        user_id: whose, if neither the file nor its name (``marv_current_portfolio.yaml``) says.

    Raises:
        NotFound: there is no such file.
        InvalidValue: it is no such mapping, or a value does not fit.
        InvalidReference: there is no such user.
        DriverMissing: PyYAML is not installed.
    """
    file = Path(path)
    said = _read(file)
    if file.stem.endswith(_SUFFIX):
        user_id = user_id or file.stem.removesuffix(_SUFFIX)
    given: dict[str, Any] = {"user_id": user_id, "snapshot_date": snapshot_date, **said}
    lacking = [name for name in ("user_id", "snapshot_date", "holdings") if not given.get(name)]
    if lacking:
        raise InvalidValue(
            f"{file} does not say it", record="Portfolio", field=lacking[0], expected="a value"
        )
    if given.get("total_value") is not None:
        given["total_value"] = as_decimal(given["total_value"])
    return keep.predictions.save_portfolio(**given)


def _read(file: Path) -> dict[str, Any]:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise DriverMissing(
            "reading YAML needs PyYAML, which is not installed: pip install 'quantkeep[yaml]'"
        ) from error
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no {file}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidValue(f"{file} is no YAML: {error}", expected="a mapping") from None
    if not isinstance(said, dict):
        raise InvalidValue(f"{file} is a {type(said).__name__}", expected="a mapping")
    unknown = [name for name in said if name not in _KNOWN]
    if unknown:
        raise InvalidValue(
            f"{file} says what no portfolio has",
            record="Portfolio", field=str(unknown[0]), expected=", ".join(_KNOWN),
        )  # fmt: skip
    return said
