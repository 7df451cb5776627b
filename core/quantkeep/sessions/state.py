"""The state of a session: its sections, the components that bring theirs, its watermarks."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime
from typing import Any, Self

from quantkeep.errors import InvalidValue
from quantkeep.sessions.components import Component, Tape, checked
from quantkeep.sessions.records import SessionRecord, Status
from quantkeep.sessions.saving import Progress, Saver
from quantkeep.sessions.tracked import Tree
from quantkeep.trading import Mode
from quantkeep.watermarks import check_stream


class State(MutableMapping[str, Any]):
    """Named sections, and what a session is called. Saving is :class:`Session`'s.

    Attributes:
        loop_count: loops the engine has completed; saved with the state.
    """

    def __init__(
        self,
        record: SessionRecord,
        progress: Progress,
        saver: Saver,
        tree: Tree,
        tape: Tape | None = None,
    ) -> None:
        self._record = record
        self._saver = saver
        self._tree = tree
        self._tape = tape
        self._components: dict[str, Component] = {}
        self._lock = threading.RLock()
        self._status: Status = "running"
        self._state_version = progress.state_version
        self._watermarks = dict(progress.watermarks)
        self.loop_count = progress.loop_count

    # -- what it is ------------------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        """Names this session for ever."""
        return self._record.session_id

    @property
    def name(self) -> str:
        """What the sessions of this program share."""
        return self._record.name

    @property
    def mode(self) -> Mode:
        """paper, live, backtest or test."""
        return self._record.mode

    @property
    def account(self) -> str:
        """The account it trades."""
        return self._record.account

    @property
    def status(self) -> Status:
        """running; stopped, crashed or finished once it has ended."""
        return self._status

    @property
    def start_time(self) -> datetime:
        """When it was started clean; a resume does not change it."""
        return self._record.start_time

    @property
    def paper_campaign_id(self) -> str | None:
        """The campaign of a paper run."""
        return self._record.paper_campaign_id

    @property
    def config(self) -> Any:
        """The configuration of the run, as it was started."""
        return self._record.config

    @property
    def state_version(self) -> int:
        """Version of the program's state."""
        return self._state_version

    @property
    def revision(self) -> int:
        """How often it was committed."""
        return self._saver.revision

    @property
    def token(self) -> int:
        """The fencing token that each of its saves carries."""
        return self._saver.lease.token

    @property
    def has_changes(self) -> bool:
        """Whether the next save may have something to write beside the session's own row."""
        return self._tree.is_touched or bool(self._components)

    # -- sections --------------------------------------------------------------------------------

    def __getitem__(self, section: str) -> Any:
        return self._tree.root[section]

    def __setitem__(self, section: str, value: Any) -> None:
        self._refuse_attached(section)
        self._tree.root[section] = value

    def __delitem__(self, section: str) -> None:
        self._refuse_attached(section)
        del self._tree.root[section]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tree.root)

    def __len__(self) -> int:
        return len(self._tree.root)

    def __contains__(self, section: object) -> bool:
        return section in self._tree.root

    def plain(self) -> dict[str, Any]:
        """A deep copy of all sections, in plain dicts."""
        return self._tree.root.plain()

    def _refuse_attached(self, section: str) -> None:
        if section in self._components:
            raise InvalidValue(
                "is the state of an attached component, and is taken from it at each save",
                field=section,
                expected="the component to be changed, or another name",
            )

    # -- components and watermarks ---------------------------------------------------------------

    def attach(self, section: str, component: Component) -> None:
        """Keep the state of *component* as a section: taken at each save, given back here.

        If the section is there already, because the session was resumed, the component gets it.

        Raises:
            InvalidValue: it has no ``get_state()`` and ``restore_state()``.
        """
        component = checked(section, component)
        with self._lock:
            if section in self._tree.root:
                state = self._tree.root[section]
                component.restore_state(state.plain() if hasattr(state, "plain") else state)
            self._components[section] = component

    def watermark(self, stream: str, revision: int) -> None:
        """Say that the state holds the effect of all of *stream* up to *revision* (Z-8).

        Saved with the state, in the same commit.

        Raises:
            InvalidValue: it would go back, or *stream* is none.
        """
        check_stream(stream)
        with self._lock:
            before = self._watermarks.get(stream, 0)
            if type(revision) is not int or revision < before:
                raise InvalidValue(
                    f"the watermark of {stream!r} cannot become {revision!r}",
                    field="watermarks", value=revision, expected=f"a revision from {before} on",
                )  # fmt: skip
            self._watermarks[stream] = revision

    @property
    def watermarks(self) -> dict[str, int]:
        """Of each stream, the last revision whose effect is in the state; a copy."""
        return dict(self._watermarks)

    def _move_to(self, watermarks: Mapping[str, int]) -> None:
        """What a commit has saved; the program may have said more since."""
        for stream, revision in watermarks.items():
            self._watermarks[stream] = max(revision, self._watermarks.get(stream, 0))

    @property
    def events(self) -> Iterable[Any]:
        """What the tape has recorded after the watermarks; read anew each time it is asked for."""
        return () if self._tape is None else self._tape.events_after(self.watermarks)

    def replay(self, tape: Tape, reducer: Callable[[Self, Any], object]) -> int:
        """Apply what *tape* recorded after the watermarks; gives the number of its events.

        Each is applied by ``reducer(session, event)``, and then moves its stream's watermark, so
        that the next save stores its effect and that together.
        """
        count = 0
        for event in tape.events_after(self.watermarks):
            reducer(self, event)
            self.watermark(*tape.watermark_of(event))
            count += 1
        return count
