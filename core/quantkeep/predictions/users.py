"""Whose portfolios and predictions these are."""

from collections.abc import Mapping
from typing import Any

from quantkeep.batch import ANYTHING, PRESENT, Expectation, Receipt
from quantkeep.predictions.part import Part, Saved
from quantkeep.records import Record, field, record
from quantkeep.store import PendingBatch


@record("users", key=("user_id",), stream=("user_id",))
class User(Record):
    """Somebody that predictions are made for (MARA-1)."""

    user_id: str
    name: str
    profile: str = field(doc="what the user wants, in your own words: growth, income, ...")
    flow: str = field(doc="the program that predicts for the user: growth, income, ...")


class Users(Part):
    """The users of a prediction store."""

    def save_user(
        self,
        user_id: str,
        *,
        name: str,
        profile: str,
        flow: str,
        extra: Mapping[str, Any] | None = None,
        expect: Expectation = ANYTHING,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved[User]:
        """Store the user, or what has changed of them; ``created_at`` stays as it was.

        Raises:
            Conflict: *expect* does not hold of what is stored.
        """
        said = {"user_id": user_id, "name": name, "profile": profile, "flow": flow}
        user = self._new(User, said, extra or {})
        put = self.table(User).put(user, expect)
        return Saved(user_id, user, self._commit(put, op_id=op_id, batch=batch))

    def user(self, user_id: str) -> User | None:
        """The user called *user_id*."""
        return self.table(User).get(user_id)

    def users(self) -> list[User]:
        """All users, by id."""
        return self.table(User).list()

    def delete_user(
        self, user_id: str, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> Receipt:
        """Forget the user.

        Raises:
            StillReferenced: portfolios, predictions or anything else of theirs is stored.
            NotFound: there is no such user.
        """
        return self._commit(
            self.table(User).delete(user_id, expect=PRESENT), op_id=op_id, batch=batch
        )
