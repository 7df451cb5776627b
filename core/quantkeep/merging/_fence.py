"""No session may be written in the fallback any more once it is merged (Z-11)."""

from quantkeep.batch import Batch
from quantkeep.errors import Busy
from quantkeep.merging._source import Source
from quantkeep.sessions.lease import Leases, held
from quantkeep.sessions.records import LeaseRecord


def fence(source: Source, *, steal: bool) -> None:
    """Give every session a token that nobody holds.

    Raises:
        Busy: a session is held; then nothing was changed.
    """
    table = source.table(LeaseRecord)
    if table is None:
        return
    leases = Leases(table, source.backend)
    taken = [lease for lease in table.list() if lease.pid is not None]
    for lease in taken:
        if leases.standing(lease) == "held" and not steal:
            raise Busy(f"{held(lease)}. Nothing was merged")
    for lease in taken:
        source.backend.commit(Batch((leases.fenced_off(lease),)))
