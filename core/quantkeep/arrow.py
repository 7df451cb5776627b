"""Arrow in and out: how tables of rows pass without a Python object for each (DESIGN §3).

Every column has one Arrow type. :func:`schema` gives it, :func:`read` writes it, and :func:`rows`
takes it and whatever widens to it without loss.

========== ======================== ==========================================================
kind       Arrow type               taken as well
========== ======================== ==========================================================
TEXT       string                   large strings, views, dictionary-encoded strings
INTEGER    int64                    every integer, decimals of scale 0, if they fit 64 bits
REAL       float64                  float16, float32, integers that have an equal float
DECIMAL    decimal128(p, s)         integers and other decimals, if they fit exactly
BOOLEAN    bool
TIMESTAMP  timestamp(us, UTC)       other units and zones, if nothing finer than µs is in them
DATE       date32                   date64
UUID       string                   arrow.uuid, fixed_size_binary(16)
BINARY     binary                   large, fixed-size and view binaries
DOCUMENT   string, of JSON          arrow.json; tags as in :mod:`quantkeep.documents`
========== ======================== ==========================================================

A column of type null is a column of nulls. Decimals of more than 38 digits are decimal256. The
metadata of each field holds ``quantkeep.kind`` and ``quantkeep.doc``, those of a schema
``quantkeep.collection``.
"""

from quantkeep._arrow_in import ArrowRows, rows
from quantkeep._arrow_out import read, to_batch
from quantkeep._arrow_records import RecordColumns, canonical_table, of_records
from quantkeep._arrow_schema import ENVELOPE, arrow_type, scalar_type, schema

__all__ = [
    "ENVELOPE",
    "ArrowRows",
    "RecordColumns",
    "arrow_type",
    "canonical_table",
    "of_records",
    "read",
    "rows",
    "scalar_type",
    "schema",
    "to_batch",
]
