"""A child's side of the conversation with the clause that started it."""

import json
import os
import select
from collections.abc import Sequence
from typing import Any

import attrs

import quantkeep
from quantkeep import Keep, QuantkeepError, Record, failpoints
from quantkeep.failpoints import passing
from quantkeep_conformance.records import KIT_RECORDS, WiderEntry
from quantkeep_conformance.scratch import loaded


@attrs.frozen
class Desk:
    """Where a child is told what to do, and says what happened."""

    told: dict[str, Any]

    def open(self) -> Keep:
        """The keep that was named, with the kit's records and the tape."""
        return self._open({"tape": self.told["url"]}, KIT_RECORDS)

    def open_wider(self) -> Keep:
        """As :meth:`open`, by a program that knows more fields."""
        return self._open({"tape": self.told["url"]}, [WiderEntry])

    def open_whole(self) -> Keep:
        """As :meth:`open`, with all stores."""
        return self._open(self.told["url"], KIT_RECORDS)

    def _open(self, target: object, records: Sequence[type[Record]]) -> Keep:
        return quantkeep.open(target, records=records, plugins=loaded(self.told["plugins"]))

    def arm(self, moment: str) -> None:
        """Arm the failpoints that are to be armed from this *moment* on."""
        passing(f"conformance.{moment}")
        if self.told.get("when") == moment:
            failpoints.arm(self.told["failpoints"], trace=self.told.get("trace"))

    def say(self, event: str, **more: Any) -> None:
        """Tell the parent, in one write."""
        line = json.dumps({"event": event, **more}) + "\n"
        os.write(1, line.encode())

    def listen(self) -> Any:
        """What the parent says next; ``None`` if it is gone."""
        line = b""
        while not line.endswith(b"\n") and (letter := os.read(0, 1)):  # and not a byte further
            line += letter
        return json.loads(line or b"null")

    def has_mail(self) -> bool:
        """Whether the parent has said something that was not listened to."""
        return bool(select.select([0], [], [], 0)[0])

    def at_the_barrier(self) -> Keep:
        """A keep, once every other child has one too."""
        keep = self.open()
        self.say("ready")
        self.listen()
        return keep


def described(error: QuantkeepError) -> dict[str, Any]:
    """An error as the parent is told of it."""
    return {"type": type(error).__name__, "applied": error.applied, "text": str(error)[:200]}
