"""A program's own values by key (CODEX-9)."""

from typing import Any

from quantkeep.batch import Receipt
from quantkeep.query import where
from quantkeep.records import Record, field, record
from quantkeep.store import PendingBatch, Store
from quantkeep.table import Table
from quantkeep.trading import Mode


@record("bot_state", key=("account", "key"), stream=("account",))
class BotValue(Record):
    """One value; its ``envelope.updated_at`` says when it was last saved."""

    account: str = "default"
    key: str
    value: Any = field(doc="whatever a document holds, of the host's own types too")


class BotState(Store):
    """Values by account and key, and the balance of each mode."""

    name = "sessions"
    records = (BotValue,)

    @property
    def _values(self) -> Table[BotValue]:
        return self.table(BotValue)

    def save(
        self,
        key: str,
        value: Any,
        *,
        account: str = "default",
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Keep *value* under *key*, in place of what was there.

        Raises:
            InvalidValue: *value* holds what no document can; names its path.
        """
        write = self._values.put(BotValue(account=account, key=key, value=value))
        return self._commit(write, op_id=op_id, batch=batch)

    def load(self, key: str, default: Any = None, *, account: str = "default") -> Any:
        """The value under *key*; *default* if none was saved."""
        found = self._values.get(account, key)
        return default if found is None else found.value

    def delete(
        self,
        key: str,
        *,
        account: str = "default",
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Forget what is under *key*, if anything is."""
        return self._commit(self._values.delete(account, key), op_id=op_id, batch=batch)

    def all(self, *, account: str = "default") -> dict[str, Any]:
        """All values of an account, by key."""
        return {found.key: found.value for found in self._values.list(*where(account=account))}

    def balance(self, *, mode: Mode, account: str = "default") -> Any:
        """The balance last saved for *mode*: money, or what the exchange calls a wallet.

        It is the backup: of a live account the exchange's own word comes first (CODEX-28).
        """
        return self.load(f"balance_{mode}", account=account)

    def save_balance(
        self,
        balance: Any,
        *,
        mode: Mode,
        account: str = "default",
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Keep the balance of *mode*; that of another mode is another value."""
        return self.save(f"balance_{mode}", balance, account=account, op_id=op_id, batch=batch)
