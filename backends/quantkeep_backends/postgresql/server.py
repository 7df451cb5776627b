"""The server: what it is, and what of a commit survives it."""

from collections.abc import Iterator
from typing import Any, Final

import attrs

from quantkeep.backend import Durability
from quantkeep_backends.postgresql.connections import Link

OLDEST: Final = 150_000  # unique constraints under which a null counts as a value
_SETTINGS: Final = (
    "server_version", "server_version_num", "server_encoding", "fsync", "synchronous_commit",
    "full_page_writes", "data_checksums", "synchronous_standby_names",
    "default_transaction_read_only", "standard_conforming_strings", "max_connections",
)  # fmt: skip
_LISTED: Final = ", ".join(f"current_setting('{name}')" for name in _SETTINGS)
_ASK: Final = f"SELECT {_LISTED}, pg_is_in_recovery()"
_REMOTE: Final = ("on", "remote_write", "remote_apply")


@attrs.frozen
class ServerFacts:
    """What the server says of itself."""

    settings: dict[str, str]
    in_recovery: bool

    @classmethod
    def read(cls, link: Link) -> "ServerFacts":
        """As it is now, for this connection."""
        found: Any = link.run(_ASK).fetchone()
        return cls(dict(zip(_SETTINGS, found, strict=False)), found[-1])

    @property
    def version(self) -> int:
        """As a number: 15.3 is 150003."""
        return int(self.settings["server_version_num"])

    @property
    def accepts_writes(self) -> bool:
        """Whether it is no standby, and not told to be read-only."""
        return not self.in_recovery and self.settings["default_transaction_read_only"] == "off"

    @property
    def durability(self) -> Durability:
        """What survives a commit (measured: a commit that does not wait is lost by any crash)."""
        committed = self.settings["synchronous_commit"]
        if committed == "off" or self.settings["fsync"] == "off":
            return Durability.PROCESS
        if self.settings["full_page_writes"] == "off":
            return Durability.SERVER  # a power cut may tear a page
        if self.settings["synchronous_standby_names"] and committed in _REMOTE:
            return Durability.REPLICATED
        return Durability.DISK

    def shown(self) -> dict[str, Any]:
        """For ``quantkeep doctor``."""
        known = {name: v for name, v in self.settings.items() if name != "server_version_num"}
        return {**known, "in_recovery": self.in_recovery}

    def warnings(self) -> Iterator[str]:
        """What to mend."""
        if self.settings["fsync"] == "off":
            yield "fsync is off: a crash of the machine can destroy the whole database"
        if self.settings["full_page_writes"] == "off":
            yield "full_page_writes is off: a power cut can tear pages"
        if self.settings["synchronous_commit"] == "off":
            yield "synchronous_commit is off: a crash of the server loses the last commits"
        if self.settings["data_checksums"] == "off":
            yield (
                "data_checksums are off: damaged pages are not noticed by the server "
                "(records are checked by their digests all the same)"
            )
        if not self.accepts_writes:
            yield "the server accepts no writes: it is a standby, or told to be read-only"
