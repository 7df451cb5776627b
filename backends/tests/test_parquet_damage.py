"""Damage to any file: it is named, what does not need it is read, and no answer is wrong."""

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep import Corrupt, Where
from quantkeep_backends.parquet import _bulk
from quantkeep_conformance.records import Entry, Setting

RECORDS = (Entry, Setting)  # every opening goes through all there are
SEED = 20_261_121


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_bulk, "LARGE", 50)
    return tmp_path / "k"


def opened(path: Path, **asked: Any) -> quantkeep.Keep:
    return quantkeep.open({"tape": f"parquet:///{path}"}, records=RECORDS, **asked)


def append(keep: quantkeep.Keep, mode: str, *numbers: int, op_id: str | None = None) -> None:
    made = [Entry(number=n, uid=f"{n}", mode=mode) for n in numbers]
    keep.commit(keep.table(Entry).append(made), op_id=op_id)


def put(keep: quantkeep.Keep, owner: str, value: int) -> None:
    keep.commit(keep.table(Setting).put(Setting(owner=owner, name="x", value=value)))


def filled(path: Path, state: str) -> None:
    """Streams, keys and operations, each touched by commits of its own; some of it compacted, and
    perhaps what that replaced cleared away.
    """
    with opened(path) as keep:
        append(keep, "paper", 0, 1, op_id="first")
        append(keep, "live", *range(60))
        put(keep, "a", 1)
        put(keep, "b", 1)
        if state != "log":
            keep.backend.compact()
        if state == "cleared":
            keep.backend.remove_garbage(keep.backend.now() + 1)
        append(keep, "paper", 2, op_id="second")
        append(keep, "live", 60)
        put(keep, "a", 2)
        keep.commit(keep.table(Entry).delete("default", "live", 3))
        append(keep, "live", *range(100, 160))
        append(keep, "paper", 3)
        keep.backend.put_blob("aa", b"blob")


Question = Callable[[quantkeep.Keep], Any]


def stream(mode: str) -> Question:
    asked = (Where("account", "==", "default"), Where("mode", "==", mode))
    return lambda keep: [(e.revision, e.number) for e in keep.table(Entry).list(*asked)]


def setting(owner: str) -> Question:
    return lambda keep: (s := keep.table(Setting).get(owner, "x")) and (s.value, s.revision)


QUESTIONS: dict[str, Question] = {
    "paper": stream("paper"),
    "live": stream("live"),
    "all entries": lambda keep: sorted(e.number for e in keep.table(Entry).list()),
    "count": lambda keep: keep.table(Entry).count(),
    "a": setting("a"),
    "b": setting("b"),
    "nobody": setting("nobody"),
    "settings": lambda keep: sorted(s.owner for s in keep.table(Setting).list()),
    "first": lambda keep: keep.resolve("first") is not None,
    "second": lambda keep: keep.resolve("second") is not None,
    "third": lambda keep: keep.resolve("third") is not None,
    "blob": lambda keep: keep.backend.open_blob("aa"),
}


def answers(path: Path) -> dict[str, Any]:
    """What each question is answered with; an error, where it cannot be."""
    with opened(path, read_only=True) as keep:
        return {question: attempted(ask, keep) for question, ask in QUESTIONS.items()}


def attempted(act: Callable[..., Any], *given: Any) -> Any:
    try:
        return act(*given)
    except Corrupt as error:
        return error


def harmed(file: Path, draw: random.Random) -> Iterator[str]:
    """*file* flipped in every part of it, cut, emptied, replaced and removed; said how."""
    sound = file.read_bytes()
    places = {draw.randrange(len(sound)) for _ in range(3)} | {0, len(sound) - 1, 80}
    for place in sorted(p for p in places if p < len(sound)):
        file.write_bytes(
            sound[:place] + bytes([sound[place] ^ 1 << place % 8]) + sound[place + 1 :]
        )
        yield f"flipped at {place}"
    for size in sorted({0, len(sound) - 2, draw.randrange(len(sound))}):
        file.write_bytes(sound[:size])
        yield f"cut to {size}"
    file.write_bytes(sound + b"{}\n")
    yield "longer"
    file.write_bytes(b"\0" * len(sound))
    yield "of zeros"
    file.unlink()
    yield "gone"
    file.write_bytes(sound)


def files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name != "lock")


def lost_with(path: Path, file: Path) -> set[str]:
    """The questions that cannot be answered without *file*, which is sound now."""
    top, *rest = file.relative_to(path).parts
    if top == "_log":
        return {*lost_with_commit(json.loads(file.read_bytes().splitlines()[1]))}
    if top == "segments":
        return {*IN_SEGMENTS[rest[0]]}
    return {"blob"} if top == "blobs" else set()  # all else is known from elsewhere


IN_SEGMENTS = {
    "kit_entries": ("paper", "live", "all entries", "count"),
    "kit_settings": ("a", "b", "nobody", "settings"),
    "_operations": ("first", "second", "third"),
}


def lost_with_commit(said: dict[str, Any]) -> Iterator[str]:
    for effect in said.get("effects", ()):
        if effect["collection"] == "kit_settings":
            yield from (effect["record"]["owner"], "settings")
        else:
            yield effect["removed"][1] if "removed" in effect else effect["record"]["mode"]
            yield from ("all entries", "count")
    for segment in said.get("segments", ()):
        yield from (segment["runs"][0][0][1], "all entries", "count")
    if "operation" in said:
        yield said["operation"]["id"]


@pytest.mark.requirement("Z-6", "Z-18")
@pytest.mark.parametrize("state", ["log", "compacted", "cleared"])
def test_damage_to_any_file_gives_no_wrong_answer_and_leaves_the_rest(
    path: Path, state: str
) -> None:
    filled(path, state)
    draw, wanted = random.Random(SEED), answers(path)
    newest, replaced = max((path / "_log").iterdir()), replaced_in(path)
    for file in files_of(path):
        name, lost = f"{file.relative_to(path)}", lost_with(path, file)
        for how in harmed(file, draw):
            if how == "gone" and (file == newest or lost == {"blob"}):
                continue  # nothing tells it from what was never there
            found = attempted(answers, path)
            if isinstance(found, Corrupt):
                assert name in str(found), f"{name} {how}"
                assert file == newest, f"{name} {how}: nothing can be read"
                continue
            open_ = {q: e for q, e in found.items() if isinstance(e, Corrupt)}
            assert all(name in str(error.locator) for error in open_.values()), f"{name} {how}"
            assert open_.keys() <= lost, f"{name} {how}: more than that cannot be read"
            assert {**found, **open_} == {**wanted, **open_}, f"{name} {how}"
            spare = how == "gone" and name.startswith(("current.json", "_spare"))
            if name not in replaced and not spare:
                assert any(name in said for said in complaints(path)), f"{name} {how} is not named"
    assert answers(path) == wanted


def replaced_in(path: Path) -> set[str]:
    """Files that nobody reads any more, the commit that the manifest is of among them."""
    with opened(path) as keep:
        replaced = {found.name for found in keep.backend.garbage(keep.backend.now() + 1)}
    current = path / "current.json"
    commit = json.loads(current.read_text())["commit"] if current.exists() else 0
    return {*replaced, f"_log/{commit:020}.json"}


def complaints(path: Path) -> list[str]:
    with opened(path, read_only=True) as keep:
        return [*keep.backend.scrub()]


@pytest.mark.requirement("Z-6")
def test_what_a_damaged_commit_leaves_open_cannot_be_written_over(path: Path) -> None:
    filled(path, "cleared")
    victim = commit_of(path, "kit_settings")
    victim.write_bytes(victim.read_bytes()[:-20])
    with opened(path) as keep:
        health = keep.backend.health()
        with pytest.raises(Corrupt, match=victim.name):
            append(keep, "paper", 9)
        with pytest.raises(Corrupt, match=victim.name):
            keep.backend.compact()
        with pytest.raises(Corrupt, match=victim.name):
            keep.backend.remove_garbage(keep.backend.now() + 1)
        assert victim.name in str(health)
        assert "kit_settings" not in keep.backend.sizes()


@pytest.mark.requirement("Z-6")
def test_a_file_that_was_restored_is_read_again_by_a_handle_that_missed_it(path: Path) -> None:
    filled(path, "cleared")
    wanted, victim = answers(path), commit_of(path, "kit_settings")
    sound = victim.read_bytes()
    victim.unlink()
    with opened(path) as keep:
        with pytest.raises(Corrupt, match=victim.name):
            setting("a")(keep)
        assert stream("paper")(keep) == wanted["paper"]
        victim.write_bytes(sound)
        assert setting("a")(keep) == wanted["a"]
        append(keep, "paper", 9)
    with opened(path) as keep:
        assert stream("paper")(keep)[-1][1] == 9


@pytest.mark.requirement("Z-6", "Z-18")
def test_a_commit_that_is_damaged_beside_a_live_handle_does_not_come_into_it(path: Path) -> None:
    """It has read it already; its next compaction makes the keep whole."""
    filled(path, "cleared")
    wanted, victim = answers(path), commit_of(path, "kit_settings")
    with opened(path) as live:
        live.table(Setting).list()
        victim.write_bytes(b"")
        with opened(path) as late:
            with pytest.raises(Corrupt, match=victim.name):
                setting("a")(late)
            live.backend.compact()
            assert setting("a")(late) == wanted["a"]
            put(late, "c", 3)
            assert setting("c")(live) == (3, 1)
    assert answers(path) | {"settings": 0} == wanted | {"settings": 0}


@pytest.mark.parametrize("victim", ["current.json", "_manifest"])
def test_without_its_manifest_a_keep_is_whole_and_compaction_makes_another(
    path: Path, victim: str
) -> None:
    filled(path, "compacted")
    wanted, file = answers(path), path / victim
    for each in [file] if file.is_file() else file.iterdir():
        each.write_bytes(b"{}")
    with opened(path) as keep:
        assert not keep.backend.health().ok
        append(keep, "paper", 9)
        keep.backend.compact()
    assert {**answers(path), **dict.fromkeys(("paper", "all entries", "count"))} == {
        **wanted, **dict.fromkeys(("paper", "all entries", "count"))
    }  # fmt: skip
    with opened(path) as keep:
        assert keep.backend.health().ok


def commit_of(path: Path, collection: str) -> Path:
    """The newest commit that changed *collection*."""
    return max(
        p for p in (path / "_log").iterdir() if f'"collection":"{collection}"' in p.read_text()
    )


def test_a_heading_that_is_damaged_at_the_end_of_the_log_closes_the_keep(path: Path) -> None:
    """Nobody knows what that commit has touched."""
    filled(path, "cleared")
    newest = max((path / "_log").iterdir())
    newest.write_bytes(b"x" + newest.read_bytes()[1:])
    with pytest.raises(Corrupt, match=newest.name):
        opened(path)
    before = quantkeep.open(
        {"tape": f"parquet:///{path}?until={int(newest.stem) - 1}"},
        records=RECORDS,
        read_only=True,
    )
    with before:
        assert stream("paper")(before) == [(1, 0), (2, 1), (3, 2)]
        assert stream("live")(before)[-1] == (121, 159)


# -- segments ----------------------------------------------------------------------------------


def test_what_is_beside_a_damaged_segment_can_be_read(path: Path) -> None:
    filled(path, "compacted")
    victim = path / json.loads((path / "current.json").read_text())["tables"]["kit_entries"][0]
    os.truncate(victim, 400)
    with opened(path) as keep:
        with pytest.raises(Corrupt, match=victim.name):
            keep.table(Entry).list()
        assert keep.table(Setting).fetch("a", "x").value == 2
        assert keep.table(Entry).fetch("default", "paper", 4).number == 3
        assert [victim.name in problem for problem in keep.backend.check()] == [True]
        assert any(victim.name in problem for problem in keep.backend.scrub())
