"""Bringing back what was written to a fallback, once (Z-39).

    report = quantkeep.merge("json:///fallback", into="postgresql://...")
    for conflict in report.conflicts:
        ...

Each stream of the fallback is merged in the order of its revisions, in commits that also say how
far it has come. So it may be killed anywhere, and be repeated as often as one likes. What is not
there yet is added; what is there and equal is left; what differs is a *conflict*: it is reported,
stays in the fallback, and nothing is overwritten. When the rest is in the target for certain, it is
removed from the fallback, which then is fit to be used again.

Log entries get revisions of the target. What points at revisions (watermarks of sessions, ranges of
the tape) is moved along. Deletions are not brought back.
"""

from typing import TYPE_CHECKING, Any, Literal

from quantkeep.merging.report import MergeConflict, MergeReport

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MergeConflict", "MergeReport", "merge"]


def merge(
    source: str,
    into: Any,
    *,
    prefer: Literal["fallback", "primary"] | None = None,
    steal: bool = False,
    plugins: "Sequence[Any]" = (),
) -> MergeReport:
    """Bring what is in *source* into another keep, and remove it there.

    Args:
        source: URL of the fallback.
        into: as :func:`quantkeep.open` takes it.
        prefer: whose records win where both have one, and they differ. By default neither.
        steal: take sessions from processes that still hold them in *source*.
        plugins: names of installed plugins, or plugin objects.

    Raises:
        NotFound: there is no keep at *source*.
        Busy: a session is still held there, and may be written to.
        Regression: *source* was put back to an older copy of itself.
        Unavailable, Corrupt: one of the two cannot be read. What was merged until then stays, and
            merging goes on there when it is run again.
    """
    from quantkeep.merging._fence import fence  # of the stores, which are imported no earlier
    from quantkeep.merging._merger import Merger
    from quantkeep.merging._source import Source
    from quantkeep.merging._target import Target

    with Source.opened(source, plugins) as from_there, Target.opened(into, plugins) as to:
        fence(from_there, steal=steal)
        confirmed = to.confirm(from_there)
        to.make_room(confirmed.collections)
        return Merger(confirmed, to, prefer).run()
