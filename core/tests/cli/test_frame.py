"""How commands are found, and how they end."""

import subprocess
import sys

import click
import pytest

from quantkeep.cli import frame, main
from quantkeep.cli.sentences import without_secrets
from quantkeep.errors import Busy

CANARY = "s3cr3t-c4n4ry"


def test_importing_the_library_imports_no_command_line():
    code = "import sys, quantkeep, quantkeep.cli; print({'click', 'rich'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_json_and_csv_do_without_rich(url, process):
    code = (
        "import sys; from quantkeep.cli import main; "
        f"main(['trades', {url!r}, '-f', 'json', '-o', 'x']); print('rich' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_help_teaches(process):
    result = process("--help")
    assert result.code == 0
    for word in ("Examples:", "trades", "doctor", "sqlite:////srv/bot.db", "Exit codes"):
        assert word in result.out


@pytest.mark.parametrize(
    "command", ["doctor", "equity", "sessions", "slippage", "trades", "upgrade", "verify"]
)
def test_every_command_gives_examples_of_itself(cli, command):
    result = cli(command, "--help")
    assert result.code == 0
    assert f"  quantkeep {command} " in result.out


def test_the_version_is_the_distribution_s(process):
    assert process("--version").out.startswith("quantkeep 0")


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["trades", "--nonsense"], ["trades", "--limit", "-1"], ["trades", "a", "b"]],
)
def test_misuse_is_2(cli, arguments):
    result = cli(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trades"], "no keep is named"),
        (["trades", "bot.db"], "is no URL"),
        (["trades", "nosuch://x"], "no backend answers to nosuch://"),
        (["doctor", "sqlite:///missing.db"], "missing.db"),
        (["verify", "missing.toml"], "missing.toml does not exist"),
        (["stats", "memory://"], "a keep in memory"),
        (["trades", "sqlite:///x.db", "-o", "no/such/folder.json"], "x.db"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_and_2(process, arguments, said):
    result = process(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert said in result.err
    assert result.err.startswith("quantkeep: ")
    assert result.err.count("\n") == 1


def test_a_file_that_cannot_be_written_is_2(cli, url):
    result = cli("trades", url, "-o", "no/such/folder.json")
    assert result.code == 2
    assert "No such file or directory: " in result.err


URLS = [
    f"nosuch://user:{CANARY}@host/db",
    f"nosuch://host/db?password={CANARY}",
    f"nosuch://user:{CANARY} with spaces'@host/db",
    f"nosuch://user:{CANARY}@host:port/db",
    f"sqlite://user:{CANARY}@host/x.db",
]


@pytest.mark.requirement("Z-15")
@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "arguments", [["trades"], ["doctor"], ["trades", "x"], ["verify", "--format"], []]
)
def test_no_password_is_printed(cli, url, arguments):
    result = cli(*arguments, url)
    assert result.code == 2
    assert CANARY not in result.out + result.err
    assert "spaces" not in result.out + result.err


def test_text_without_secrets_is_otherwise_left_alone():
    assert (
        without_secrets("see sqlite:////srv/bot.db, or a@b: c")
        == "see sqlite:////srv/bot.db, or a@b: c"
    )
    assert without_secrets("redis://:pw@h:1/0?db=2 failed") == "redis://:***@h:1/0?db=2 failed"


def failing(error):
    def raises():
        raise error

    return lambda: click.Group(commands=[click.Command("fail", callback=raises)])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Busy("others\nhold the lock"), 2, "quantkeep: others hold the lock"),
        (FileNotFoundError(2, "No such file", "x.csv"), 2, "quantkeep: No such file: x.csv"),
        (
            KeyError(f"redis://u:{CANARY}@h"),
            2,
            "quantkeep: this should not have happened: KeyError",
        ),
        (KeyboardInterrupt(), 130, "quantkeep: interrupted"),
        (click.ClickException("no"), 2, "Error: no"),
    ],
)
def test_errors_end_in_a_sentence(cli, monkeypatch, error, code, said):
    monkeypatch.setattr(frame, "command_line", failing(error))
    result = cli("fail")
    assert result.code == code
    assert said in result.err
    assert CANARY not in result.err
    assert "Traceback" not in result.err


def test_a_failure_of_our_own_can_be_traced(monkeypatch):
    monkeypatch.setattr(frame, "command_line", failing(KeyError("x")))
    monkeypatch.setenv("QUANTKEEP_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["fail"])


def test_a_reader_that_has_seen_enough_is_no_failure(url):
    command = (
        f"{sys.executable} -m quantkeep trades {url} -f csv | head -n 1; echo ${{PIPESTATUS[0]}}"
    )
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "0"
    assert ran.stderr == ""


def test_a_narrow_terminal_encoding_is_survived(url, process):
    narrow = process("trades", url, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert narrow.code == 0
    assert process("trades", url, "-f", "json", PYTHONIOENCODING="ascii", PYTHONUTF8="0").rows
