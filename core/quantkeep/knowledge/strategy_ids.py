"""Ids of strategies: content hashes of their normalised specs (KB-1, KB-5, KB-22).

Rules of version ``"1"``, with test vectors in ``docs/strategy-ids.md``:

1. texts, keys included, are in Unicode normalisation form C;
2. a tuple is a list, and -0.0 is 0.0;
3. nothing else is changed: 2 and 2.0 are two strategies, so are an absent and a null parameter;
4. the id is the SHA-256, in lower-case hexadecimal, of the canonical text of the result
   (``docs/documents.md``), in UTF-8.

A program that has rules of its own gives its ids and the name of its rules itself.
"""

import unicodedata
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from quantkeep import documents
from quantkeep.errors import InvalidValue
from quantkeep.hosts import Hosts

SPEC_HASH_VERSION: Final = "1"


def normalized(spec: Mapping[str, Any]) -> dict[str, Any]:
    """*spec* by the rules of version 1; normalising twice changes nothing.

    Raises:
        InvalidValue: it is no mapping, or two of its keys are one text.
    """
    if not isinstance(spec, Mapping):
        raise InvalidValue(
            "is no mapping",
            record="Strategy", field="normalized_spec", value=spec, expected="names and values",
        )  # fmt: skip
    try:
        return _normal_mapping(spec, "normalized_spec")
    except RecursionError:
        raise InvalidValue(
            "holds itself, or is nested too deeply",
            record="Strategy", field="normalized_spec", expected="a plain document",
        ) from None  # fmt: skip


def strategy_id(spec: Mapping[str, Any]) -> str:
    """The id of the strategy that *spec* says, under rules of version 1."""
    return content_hash(normalized(spec), "normalized_spec")


def content_hash(document: Any, field: str = "document", hosts: Hosts | None = None) -> str:
    """SHA-256 of the canonical text of *document*, as 64 lower-case hexadecimal digits.

    Without *hosts* it may hold no objects of your own classes.

    Raises:
        InvalidValue: something in it cannot be stored; names the path under *field*.
    """
    return sha256(documents.encode(document, hosts or Hosts(), path=field).encode()).hexdigest()


def _normal(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return _normal_mapping(value, path)
    if isinstance(value, list | tuple):
        return [_normal(item, f"{path}[{place}]") for place, item in enumerate(value)]
    if type(value) is str:
        return unicodedata.normalize("NFC", value)
    return 0.0 if type(value) is float and value == 0 else value


def _normal_mapping(mapping: Mapping[str, Any], path: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in mapping.items():
        name = unicodedata.normalize("NFC", key) if type(key) is str else key
        if name in result:
            raise InvalidValue(
                f"has the key {name!r} twice, composed in two ways",
                record="Strategy", field=path, value=key, expected="distinct keys",
            )  # fmt: skip
        result[name] = _normal(value, f"{path}.{name}")
    return result
