"""The file of `simulate --with`: what it gives to each service, and all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from autoscaler.cli.simulation_file import SimulationFile, read_simulation_file
from autoscaler.core.errors import ConfigurationError
from autoscaler.core.groups import NO_GROUPS, Groups
from autoscaler.simulation.together import Member

UTC = ZoneInfo("UTC")
GOOD = """\
services:
  orders:
    trace: burst
    priority: 10
    group: gpu
    slots: 4
  mails:
    trace: slow
limits:
  max-replicas: 30
  groups:
    gpu: 8
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str | bytes, given: Mapping[str, str] | None = None) -> SimulationFile:
    Path("shares.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_simulation_file(Path("shares.yaml"), given or {}, UTC)


def member(text: str, **given: str) -> Member:
    """Return the service of which only these lines stand in the file, besides its trace."""
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    (found,) = read(f"services:\n  orders:\n    trace: burst\n{lines}", given).members
    return found


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as wrong:
        read(text)
    return wrong.value.problems


class TestServices:
    def test_each_has_its_trace_its_labels_and_its_workers(self) -> None:
        orders, mails = read(GOOD).members
        assert (orders.name, orders.trace.name, mails.name) == ("orders", "burst", "mails")
        assert (orders.spec.priority, orders.spec.groups) == (10, ("gpu",))
        assert (mails.spec.priority, mails.spec.groups) == (0, ())
        assert orders.workers.slots == 4

    def test_workers_are_what_the_trace_says_where_the_file_does_not(self) -> None:
        _, mails = read(GOOD).members
        assert mails.workers == mails.trace.workers

    def test_the_command_line_has_the_last_word_on_workers(self) -> None:
        assert member("slots: 4").workers.slots == 4
        assert member("slots: 4", slots="3").workers.slots == 3

    def test_a_queue_is_named_like_its_service_if_none_is_given(self) -> None:
        assert member("").spec.queues == ("orders",)
        assert member("queue: others").spec.queues == ("others",)

    def test_a_trace_that_is_a_file_lies_beside_it(self, here: Path) -> None:
        (here / "deep").mkdir()
        (here / "deep/t.csv").write_text("time,arrivals\n0,7\n1,0\n")
        (here / "deep/with.yaml").write_text("services:\n  orders:\n    trace: t.csv\n")
        (found,) = read_simulation_file(Path("deep/with.yaml"), {}, UTC).members
        assert found.trace.tasks == 7

    def test_patterns_give_to_all_and_exact_names_have_the_last_word(self) -> None:
        orders, mails = read(
            "services:\n  orders: {trace: burst, max: 5}\n  mails: {}\n"
            '  "*": {trace: slow, max: 9}\n'
        ).members
        assert (orders.trace.name, orders.spec.max) == ("burst", 5)
        assert (mails.trace.name, mails.spec.max) == ("slow", 9)

    def test_schedules_without_a_zone_have_the_one_of_the_daemon(self, here: Path) -> None:
        (here / "w.yaml").write_text("services:\n  orders:\n    trace: burst\n")
        berlin = ZoneInfo("Europe/Berlin")
        (found,) = read_simulation_file(Path("w.yaml"), {}, berlin).members
        assert found.spec.timezone == berlin


class TestLimits:
    def test_groups_and_a_total(self) -> None:
        assert read(GOOD).groups == Groups({"gpu": 8}, 30)

    def test_without_limits_nothing_is_shared(self) -> None:
        assert read("services:\n  orders:\n    trace: burst\n").groups == NO_GROUPS

    def test_names_of_groups_may_be_written_in_any_case(self) -> None:
        found = read(GOOD.replace("    gpu: 8", "    GPU: 8"))
        assert found.groups.most == {"gpu": 8}


class TestProblems:
    @pytest.mark.parametrize(
        ("before", "after", "said"),
        [
            pytest.param(
                "priority: 10",
                "priority: high",
                "shares.yaml:4: priority='high' must be",
                id="value",
            ),
            pytest.param(
                "priority", "priorty", "is not a label, the nearest is priority", id="label"
            ),
            pytest.param("    trace: slow", "    trase: slow", "the nearest is trace", id="trace"),
            pytest.param("slots: 4", "slot: 4", "the nearest is slots", id="workers"),
            pytest.param("slots: 4", "slots: no", "shares.yaml:6: slots='no': a whole", id="slots"),
            pytest.param("slots: 4", "slots: 0", "shares.yaml:6: the slots of a", id="no-slots"),
            pytest.param(
                "trace: burst", "trace: brust", "shares.yaml:3: 'brust' is neither", id="no-trace"
            ),
            pytest.param(
                "  mails:\n    trace: slow",
                "  mails: {}",
                "shares.yaml:7: mails has no trace; give it `trace`: a file, or one of burst,",
                id="without-trace",
            ),
            pytest.param(
                "slots: 4",
                "min: 5: 6",
                "shares.yaml:6: it is not YAML",
                id="no-yaml",
            ),
            pytest.param(
                "slots: 4\n",
                "min: 5\n    max: 3\n",
                "orders: temporal.max='3' (shares.yaml:7) must be",
                id="max-below-min",
            ),
            pytest.param(
                "gpu: 8", "gqu: 8", "group 'gpu' has no limit, the nearest is gqu", id="group"
            ),
            pytest.param(
                "limits:", "limit:", "limit is not known here, the nearest is limits", id="top"
            ),
            pytest.param(
                "max-replicas", "max-replica", "the nearest is max-replicas", id="of-limits"
            ),
            pytest.param("gpu: 8", "gpu: -1", "gpu='-1' must be a whole number from 0", id="least"),
            pytest.param(
                "gpu: 8", "gpu: 1000001", "must be a whole number from 0 to 1000000", id="most"
            ),
            pytest.param("30", "0", "max-replicas='0' must be a whole number from 1", id="total"),
            pytest.param("30", "", "max-replicas has no value; give it one", id="nothing"),
            pytest.param(
                "gpu: 8", "gpu: 8\n    GPU: 9", "GPU names the group 'gpu' again", id="twice"
            ),
            pytest.param(
                "  groups:\n    gpu: 8", "  groups: 8", "groups must be a mapping", id="mapping"
            ),
        ],
    )
    def test_each_names_its_line_and_the_remedy(self, before: str, after: str, said: str) -> None:
        assert before in GOOD
        found = problems(GOOD.replace(before, after))
        assert [problem for problem in found if said in problem], found
        assert all(problem.startswith("shares.yaml:") for problem in found)

    def test_all_are_named_at_once(self) -> None:
        found = problems(
            "services:\n"
            "  orders: {trace: nowhere, weight: 0, slots: 0}\n"
            "  mails: {group: gpu}\n"
            "limits: {max-replicas: many}\n"
        )
        for said in ("nowhere", "weight", "slots", "mails has no trace", "'gpu'", "max-replicas"):
            assert len([problem for problem in found if said in problem]) == 1, said

    def test_what_a_pattern_says_wrong_is_named_once(self) -> None:
        everywhere = GOOD.replace("services:\n", 'services:\n  "*": {group: tpu}\n')
        (problem,) = problems(everywhere.replace("    group: gpu\n", ""))
        assert "group 'tpu' has no limit" in problem

    def test_wrong_rows_of_a_trace_are_named_too(self, here: Path) -> None:
        (here / "t.csv").write_text("time,arrivals\n0,many\n5,-1\n")
        found = problems(GOOD.replace("trace: slow", "trace: t.csv"))
        assert [problem.split(":")[1:3] for problem in found] == [
            ["8", " t.csv, row 2, column arrivals"],
            ["8", " t.csv, row 3, column arrivals"],
        ]

    def test_a_file_without_a_service_is_wrong(self) -> None:
        assert "no service is named" in problems("services: {}\n")[0]
        assert "`services:` is missing" in problems("limits: {}\n")[0]
        assert "it is empty" in problems("")[0]

    def test_a_file_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match=r"--with='nowhere\.yaml' cannot be read"):
            read_simulation_file(Path("nowhere.yaml"), {}, UTC)

    def test_what_is_no_text_is_said(self) -> None:
        (problem,) = problems(b"services:\n  \xff\n")
        assert problem == "shares.yaml:2: it is not UTF-8 text; save it as UTF-8"
