"""URLs, configurations and folders that name no keep; and that no password is ever shown."""

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep.cli import main
from quantkeep.errors import (
    Corrupt,
    FormatTooNew,
    InvalidUrl,
    NotFound,
    PermissionDenied,
    QuantkeepError,
    UnknownBackend,
)
from quantkeep.url import Url

CANARY = "s3cr3t-c4n4ry"


@pytest.mark.requirement("Z-12", api="quantkeep.open")
@pytest.mark.parametrize(
    ("target", "error", "said"),
    [
        ("", InvalidUrl, "'' is no URL: expected scheme://"),
        ("://", InvalidUrl, "is no URL"),
        (["memory://"], InvalidUrl, "is no URL"),
        (5, InvalidUrl, "'5' is no URL"),
        ({"default": ""}, InvalidUrl, "'' is no URL"),
        ({"default": None}, InvalidUrl, "default must be a URL, as text"),
        ({"default": "memory://", "plugins": 5}, InvalidUrl, "plugins must be a list of names"),
        ({"default": "memory://", "plugins": ["x"]}, InvalidUrl, "no plugin 'x' is installed"),
        ({"default": "memory://", "durability": "x"}, InvalidUrl, "expected one of memory, proc"),
        ({"tape": "nosuch://"}, UnknownBackend, "no backend answers to nosuch://; installed are"),
        ("nosuch+s3://x", UnknownBackend, "no backend answers to nosuch\\+s3://"),
        ("postgres://h/x", UnknownBackend, r"did you mean postgresql://\?"),
        ("memory://?a=1&a=2", InvalidUrl, "gives an option twice"),
        ("json://host/x", InvalidUrl, "write json:///host/x for a path"),
        ("json:///", InvalidUrl, "expected a path"),
        ("json:///a%00b", InvalidUrl, "expected a path"),
        ("json:///x?patience=nan", InvalidUrl, "patience='nan': expected seconds"),
        ("json:///x?patience=-1", InvalidUrl, "patience='-1': expected seconds"),
        ("json:///x?speed=1", InvalidUrl, "unknown option 'speed'; json takes patience"),
    ],
)
def test_what_names_no_keep_says_what_would(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: object,
    error: type[QuantkeepError],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said) as caught:
        quantkeep.open(target)
    assert (caught.value.applied, caught.value.retryable) == ("no", False)
    assert not [*tmp_path.iterdir()]


def edited(old: str, new: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        quantkeep.open(f"json:///{path}").close()
        heading = path / "keep.json"
        text = heading.read_text()
        assert old in text
        heading.write_text(text.replace(old, new))

    return make


def of_others(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("my only copy")


def file(path: Path) -> None:
    path.write_text("a file")


def link(path: Path) -> None:
    path.symlink_to("elsewhere")


WRONG: list[tuple[str, Callable[[Path], None], type[QuantkeepError], str]] = [
    ("a file", file, InvalidUrl, "is a file; a JSON keep is a folder"),
    ("a folder of others", of_others, InvalidUrl, "holds other files and no keep.json: name an"),
    ("a link", link, PermissionDenied, "is a symbolic link"),
    ("a later format", edited('"format": 2', '"format": 99'), FormatTooNew, "has format 99"),
    ("no format", edited('"format": 2', '"format": "two"'), Corrupt, "cannot be read"),
    (
        "another folder's generation",
        edited('"generation": ', '"generation": "../../x", "was": '),
        Corrupt,
        "",
    ),
    ("no JSON", edited("{", ""), Corrupt, "cannot be read"),
]


@pytest.mark.parametrize("read_only", [False, True], ids=["to write", "to read"])
@pytest.mark.parametrize(
    ("make", "error", "said"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_a_folder_that_is_no_keep_of_ours_is_left_alone(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    error: type[QuantkeepError],
    said: str,
    *,
    read_only: bool,
) -> None:
    place = tmp_path / "place"
    make(place)
    before = files(tmp_path)
    with pytest.raises(error) as caught:
        quantkeep.open(f"json:///{place}", read_only=read_only)
    assert type(caught.value) is error
    assert said in str(caught.value)
    assert str(place) in str(caught.value)
    assert main(["trades", f"json:///{place}"]) == 2
    assert_one_sentence(capsys, said)
    assert files(tmp_path) == before


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path): path.read_bytes() for path in found}


def assert_one_sentence(capsys: pytest.CaptureFixture[str], said: str = "") -> None:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("quantkeep: ")
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "should not have happened" not in err


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    file(tmp_path / "file")
    with pytest.raises(InvalidUrl, match="file is a file, not a folder"):
        quantkeep.open(f"json:///{tmp_path}/file/a/b")
    with pytest.raises(NotFound, match="create=True"):
        quantkeep.open(f"json:///{tmp_path}/other", create=False)
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208  # names alone


@pytest.mark.parametrize("said", ["", "default = [", "default = 5", 'sesions = "memory://"', "\0"])
def test_a_configuration_that_cannot_be_understood_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    path = tmp_path / "quantkeep.toml"
    path.write_text(said)
    with pytest.raises(InvalidUrl, match=r"quantkeep\.toml"):
        quantkeep.open(path)
    assert main(["trades", str(path)]) == 2
    assert_one_sentence(capsys, "quantkeep.toml")


# -- secrets ---------------------------------------------------------------------------------------


def shown(error: BaseException | None) -> str:
    """Everything that a log, a debugger or a report would show of *error*, its causes included."""
    if error is None:
        return ""
    said = [repr(error), str(error), repr(vars(error)), *traceback.format_exception(error)]
    return "\n".join([*said, shown(error.__cause__), shown(error.__context__)])


SECRETS: list[Any] = [
    f"nosuch://user:{CANARY}@host/db",
    f"user:{CANARY}@host/db",
    f"sqlite://user:{CANARY}@host/bot.db",
    f"json://user:{CANARY}@host/bot",
    f"sqlite:///bot.db?password={CANARY}",
    f"memory://?token={CANARY}",
    f"nosuch://user:{CANARY}@host:port/db",
    f"nosuch://user:{CANARY}@[::1/db",
    {"default": f"nosuch://user:{CANARY}@host/db"},
    {"tape": f"user:{CANARY}@host"},
]


@pytest.mark.requirement("Z-15", api="quantkeep.Url")
@pytest.mark.parametrize("target", SECRETS, ids=range(len(SECRETS)))
def test_no_password_is_in_what_an_error_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: object
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidUrl) as caught:
        quantkeep.open(target)
    assert CANARY not in shown(caught.value)


@pytest.mark.requirement("Z-15", api="quantkeep.Url")
def test_no_password_is_in_what_a_url_or_a_keep_shows(tmp_path: Path) -> None:
    url = Url.parse(f"redis://user:{CANARY}@host:6379/0?token={CANARY}&db=1")
    assert url.password == CANARY
    assert CANARY not in f"{url} {url!r} {url!s} {[url]} {json.dumps(str(url))}"
    assert str(url) == "redis://user:***@host:6379/0?token=***&db=1"
    with quantkeep.open({"default": f"json:///{tmp_path}/keep", "tape": "memory://"}) as keep:
        assert repr(keep).startswith("<Keep of backtests, knowledge")
        assert str(tmp_path) not in repr(keep)


# -- the names that people type --------------------------------------------------------------------


@pytest.mark.requirement("Z-12", api="quantkeep.open")
def test_a_store_s_variable_stands_before_the_common_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTKEEP_URL", "memory://")
    monkeypatch.setenv("QUANTKEEP_TAPE_URL", "json:///tape")
    with quantkeep.open() as keep:
        assert keep.tape.table(keep.tape.records[0]).backend.name == "json"
        assert keep.sessions.table(keep.sessions.records[0]).backend.name == "memory"
    assert os.listdir() == ["tape"]  # noqa: PTH208  # names alone


@pytest.mark.requirement("Z-12", api="quantkeep.Url")
def test_a_scheme_may_have_a_transport() -> None:
    url = Url.parse("parquet+s3://bucket/keep")
    assert (url.scheme, url.transport) == ("parquet", "s3")
    assert Url.parse("sqlite:///bot.db").transport == ""


@pytest.mark.requirement("Z-12", api="quantkeep.tape.Trade")
def test_mode_and_account_are_called_so_everywhere() -> None:
    modes = ("paper", "live", "backtest", "test")
    with quantkeep.open("memory://") as keep:
        home = keep._homes["tape"]
        found = [c for c in home.collections.values() if "mode" in c.places]
        assert len(found) > 5
        for collection in found:
            column = collection.column("mode")
            assert column.choices == modes or column.extensible
            assert "trading_mode" not in collection.places
        assert not [c for c in home.collections.values() if "env" in c.places]
