"""Traces come with the package, or from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.core.errors import ConfigurationError
from autoscaler.simulation import trace_files
from autoscaler.simulation.trace import Measure, Row
from autoscaler.simulation.trace_files import read_trace, shipped_traces


def problem(name: str) -> str:
    """Return what is wrong with the name of a trace."""
    with pytest.raises(ConfigurationError) as caught:
        read_trace(name)
    (text,) = caught.value.problems
    return text


def test_these_traces_come_with_the_package() -> None:
    names = "burst cron day doubling fan-out heavy ramp slow step web"
    assert list(shipped_traces()) == names.split()


@pytest.mark.parametrize("name", shipped_traces())
def test_each_of_them_has_arrivals(name: str) -> None:
    trace = read_trace(name)
    assert (trace.name, trace.measure) == (name, Measure.ARRIVALS)


def test_a_csv_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("time,arrivals\n0,7\n1,0\n")
    trace = read_trace(str(tmp_path / "orders.csv"))
    assert trace.name == "orders.csv"
    assert trace.rows == (Row(0, 7), Row(1, 0))


def test_a_file_of_json_lines_is_read(tmp_path: Path) -> None:
    (tmp_path / "t").write_text('{"time": 0, "arrivals": 7}\r\n{"time": 1, "arrivals": 0}\r\n')
    assert read_trace(str(tmp_path / "t")).rows == (Row(0, 7), Row(1, 0))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("brust", "heavy, ramp, slow, step, web, the nearest is burst", id="typo"),
        pytest.param("", "neither a file nor one of the traces burst, cron", id="empty"),
        pytest.param("x.csv", "'x.csv' is neither a file nor one of the traces", id="no-file"),
        pytest.param(".", "'.' is neither a file nor one of the traces", id="folder"),
        pytest.param("a" * 5000, "neither a file nor one of", id="no-file-can-have-such-a-name"),
        pytest.param("a\0b", "neither a file nor one of", id="a-name-with-a-zero-byte"),
    ],
)
def test_an_unknown_name_comes_with_the_known_ones(name: str, said: str) -> None:
    assert said in problem(name)
    assert len(problem(name)) < 300


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"time,backlog\n0,\xff\n")
    assert problem(str(tmp_path / "t.csv")).endswith("t.csv is not UTF-8 text (byte 15)")


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("time,backlog\n0,1\n")
    monkeypatch.setattr(trace_files, "LARGEST_FILE", 10)
    assert problem(str(tmp_path / "t.csv")).endswith("t.csv is larger than 0 MiB")
