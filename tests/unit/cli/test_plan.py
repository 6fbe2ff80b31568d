"""autoscaler plan: one tick, as a table for people or an object for programs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from autoscaler.cli import commands
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.groups import Groups
from autoscaler.core.redaction import Redactor
from autoscaler.core.territory import Surroundings
from autoscaler.core.zones import UTC_ZONE
from autoscaler.reconcile import Reconciler
from autoscaler.settings import Settings
from autoscaler.web.board import Board
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.reports import compose
from tests.fakes.wishes import by_labels
from tests.real.site import ABOUT

ORDERS = {"temporal.queue": "orders"}


@dataclass
class App:
    """What the command gets to work with."""

    reconciler: Reconciler
    redactor: Redactor


class House:
    """The command line in a world of fakes."""

    def __init__(self) -> None:
        self.orchestrator = FakeOrchestrator()
        self.source = FakeBacklogSource()
        self.redactor = Redactor()

    def reconciler(self, prefix: str = "temporal", timezone: ZoneInfo = UTC_ZONE) -> Reconciler:
        wishes = by_labels(prefix, timezone=timezone)
        return Reconciler(
            [self.orchestrator], self.source, wishes, clock=Clock(), groups=Groups({"gpu": 4})
        )

    def app(self, settings: Settings) -> App:
        return App(self.reconciler(settings.label_prefix, settings.timezone), self.redactor)

    def plan(self, *options: str) -> Result:
        """Run `autoscaler plan` on a wide terminal."""
        return CliRunner().invoke(commands, ["plan", *options], env={"COLUMNS": "300"})


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    made = House()
    monkeypatch.setattr("autoscaler.cli.plan.build", made.app)
    return made


def rows(result: Result) -> list[list[str]]:
    """Return the cells of the table's rows."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


class TestSurroundings:
    def test_services_of_other_projects_are_named_with_how_to_look_after_them(
        self, house: House
    ) -> None:
        house.orchestrator.surroundings = Surroundings(left_alone=compose("mail/worker"))
        result = house.plan()
        assert "No service carries a label" not in result.stdout
        assert "Left alone: mail/worker. They belong to other projects" in result.stdout
        assert "AUTOSCALER_PROJECTS=*" in result.stdout
        assert json.loads(house.plan("--json").stdout)["left_alone"] == ["mail/worker"]


class TestTable:
    def test_each_service_is_a_row_with_backlog_change_and_reason(self, house: House) -> None:
        house.orchestrator.add("shop/worker", ORDERS)
        house.orchestrator.add("shop/mailer", {"temporal.queue": "mails,orders"}, replicas=5)
        house.source.fill("orders", 1000)
        result = house.plan()
        assert result.exit_code == 0
        assert [row[:4] for row in rows(result) if row[0]] == [
            ["shop/mailer", "mails, orders", "900 of 1,000", "5 -> 10"],
            ["shop/worker", "orders", "100 of 1,000", "1 -> 10"],
        ]
        assert "900 waiting tasks of 1,000, shared with shop/worker" in result.stdout
        assert "at most 10 (max)" in result.stdout

    def test_a_share_is_shown_with_its_limit_and_the_wish(self, house: House) -> None:
        house.orchestrator.add("shop/worker", {**ORDERS, "temporal.group": "gpu"})
        house.source.fill("orders", 1000)
        result = house.plan()
        assert rows(result)[0][3] == "1 -> 4"
        assert "wants 10, gets 4: group gpu" in result.stdout
        assert "group gpu: 1 of 4 replicas, 10 wished" in result.stdout
        planned = json.loads(house.plan("--json").stdout)
        assert planned["services"][0]["wished"] == 10
        assert planned["limits"] == [{"name": "group gpu", "most": 4, "replicas": 1, "wished": 10}]

    def test_nothing_is_changed(self, house: House) -> None:
        house.orchestrator.add("shop/worker", ORDERS)
        house.source.fill("orders", 100)
        house.plan()
        assert house.orchestrator.actions == []

    def test_a_count_that_stays_is_no_change(self, house: House) -> None:
        house.orchestrator.add("shop/worker", ORDERS, replicas=3)
        house.source.fill("orders", 30)
        assert rows(house.plan())[0][:4] == ["shop/worker", "orders", "30", "3"]

    def test_an_unknown_backlog_is_no_number(self, house: House) -> None:
        house.orchestrator.add("shop/worker", ORDERS, replicas=3, warnings=("take care",))
        house.source.fail("orders", "Temporal does not answer")
        result = house.plan()
        assert result.exit_code == 1
        assert rows(result)[0][2:4] == ["unknown", "3"]
        assert "error: Temporal does not answer" in result.stdout
        assert "warning: take care" in result.stdout

    def test_without_any_service_it_says_how_to_add_one(self, house: House) -> None:
        result = house.plan()
        assert result.exit_code == 0
        assert "Add temporal.queue=NAME to one, on Compose under labels, on Swarm" in result.stdout

    def test_it_says_so_with_the_prefix_of_the_settings(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AUTOSCALER_LABEL_PREFIX", "acme")
        assert "Add acme.queue=NAME to one" in house.plan().stdout

    def test_an_engine_that_does_not_answer_is_one_line_and_a_bad_exit(self, house: House) -> None:
        house.orchestrator.unreachable = OrchestratorError("no Docker Engine")
        result = house.plan()
        assert result.exit_code == 1
        assert (result.stdout, result.stderr) == ("", "autoscaler: no Docker Engine\n")

    def test_square_brackets_are_nothing_but_square_brackets(self, house: House) -> None:
        house.orchestrator.add("shop/worker", ORDERS | {"temporal.max": "[/many]"})
        assert "temporal.max='[/many]'" in house.plan().stdout


class TestAnotherTime:
    """`plan --at`: the schedules of another time, with what is there now."""

    OFFICE = ORDERS | {
        "temporal.schedule": "mon-fri 07:30-19:00 min=5 max=40; sun 02:30-04:00 min=3"
    }

    def row(self, house: House, *options: str) -> tuple[str, str]:
        """Return the heading, and the bounds of the service as the table has them."""
        house.orchestrator.add("shop/worker", self.OFFICE)
        result = house.plan(*options)
        assert result.exit_code == 0, result.stderr
        return result.stdout.splitlines()[0], rows(result)[1][3]

    @pytest.mark.parametrize(
        ("time", "zone", "heading", "bounds"),
        [
            pytest.param("2027-01-08T08:00", "UTC", "Fri 2027-01-08 08:00 UTC", "5-40", id="utc"),
            pytest.param(
                "2027-01-08T20:00",
                "America/New_York",
                "Fri 2027-01-08 20:00 EST",
                "1-10",
                id="local",
            ),
            pytest.param(
                "2027-01-08T20:00+02:00", "UTC", "Fri 2027-01-08 18:00 UTC", "5-40", id="offset"
            ),
            pytest.param(
                "2027-03-28T02:30", "UTC", "Sun 2027-03-28 02:30 UTC", "3-10", id="no-gap-in-utc"
            ),
            pytest.param(
                "2027-10-31 02:30", "Europe/Berlin", "Sun 2027-10-31 02:30 CEST", "3-10", id="twice"
            ),
        ],
    )
    def test_the_schedule_of_that_time_counts(  # noqa: PLR0913, PLR0917 - a row of the table
        self,
        house: House,
        monkeypatch: pytest.MonkeyPatch,
        time: str,
        zone: str,
        heading: str,
        bounds: str,
    ) -> None:
        monkeypatch.setenv("AUTOSCALER_TIMEZONE", zone)
        assert self.row(house, "--at", time) == (f"With the schedules of {heading}:", bounds)

    def test_a_time_that_clocks_skip_is_the_end_of_the_gap_and_said_to_be(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AUTOSCALER_TIMEZONE", "Europe/Berlin")
        house.orchestrator.add("shop/worker", self.OFFICE)
        result = house.plan("--at", "2027-03-28T02:30")
        assert result.stdout.startswith("With the schedules of Sun 2027-03-28 03:00 CEST:")
        assert rows(result)[1][3] == "3-10"
        assert result.stderr == (
            "autoscaler: warning: 2027-03-28 02:30 does not exist in Europe/Berlin, where clocks"
            " skip it: 03:00 CEST is planned for, the end of the gap\n"
        )

    @pytest.mark.parametrize(
        "time",
        [
            "",
            "tomorrow",
            "2027-02-30T10:00",
            "2027-01-08",
            "10:00",
            "0001-01-01T00:00",
            "9999-12-31T23:59",
        ],
    )
    def test_what_is_no_time_is_said_to_be_none(self, house: House, time: str) -> None:
        result = house.plan("--at", time)
        assert result.exit_code == 2
        assert result.stderr == (
            f"autoscaler: --at={time!r} must be a date and time such as 2027-03-28T02:30, or"
            " 2027-03-28T02:30+01:00\n"
        )

    def test_the_object_is_as_always(self, house: House) -> None:
        house.orchestrator.add("shop/worker", self.OFFICE)
        (told,) = json.loads(house.plan("--json", "--at", "2027-01-08T08:00").stdout)["services"]
        assert (told["min"], told["max"], told["desired"]) == (5, 40, 5)
        text = "min 5, max 40 until Fri 19:00 UTC; then min 1, max 10"
        assert told["next_bounds"]["text"] == text


class TestJson:
    def test_it_is_the_object_that_the_api_returns(self, house: House) -> None:
        house.orchestrator.add("shop/worker", ORDERS, warnings=("take care",))
        house.orchestrator.add("shop/mailer", {"temporal.max": "many"})
        house.source.fill("orders", 999)
        board = Board(ABOUT, lambda: 0.0)
        board.observe(asyncio.run(house.reconciler().tick(act=False)))
        assert json.loads(house.plan("--json").stdout) == json.loads(json.dumps(board.services()))

    def test_each_service_is_an_object(self, house: House) -> None:
        house.orchestrator.add("shop/worker", ORDERS)
        house.source.fill("orders", 999)
        result = house.plan("--json")
        assert result.exit_code == 0
        (told,) = json.loads(result.stdout)["services"]
        assert (told["service"], told["orchestrator"]) == ("shop/worker", "compose")
        assert (told["backlog"], told["replicas"], told["desired"]) == (999, 1, 10)
        assert [(reason["code"], reason["text"]) for reason in told["reasons"]] == [
            ("backlog", "999 waiting tasks at target 10 → 100"),
            ("max", "100 needed, at most 10 (max)"),
        ]

    def test_what_went_wrong_is_in_the_object(self, house: House) -> None:
        house.orchestrator.add("shop/worker", {"temporal.quue": "x", "temporal.max": "many"})
        result = house.plan("--json")
        assert result.exit_code == 1
        (told,) = json.loads(result.stdout)["services"]
        assert (told["backlog"], told["replicas"], told["desired"]) == (None, 1, 1)
        assert [error.split("=")[0].split()[0] for error in told["errors"]] == [
            "temporal.quue",
            "temporal.queue",
            "temporal.max",
        ]

    def test_without_any_service_it_has_none(self, house: House) -> None:
        told = json.loads(house.plan("--json").stdout)
        assert (told["errors"], told["services"]) == ([], [])

    def test_an_engine_that_does_not_answer_leaves_the_object_to_be_read(
        self, house: House
    ) -> None:
        house.orchestrator.unreachable = OrchestratorError("no Docker Engine")
        result = house.plan("--json")
        assert result.exit_code == 1
        told = json.loads(result.stdout)
        assert (told["errors"], told["services"]) == (["no Docker Engine"], [])
        assert result.stderr == "autoscaler: no Docker Engine\n"


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["table", "json"])
def test_it_shows_no_secret(house: House, options: tuple[str, ...]) -> None:
    house.redactor.learn(SecretStr("planted-secret"))
    house.orchestrator.add("shop/worker", ORDERS)
    house.source.fail("orders", "the server said: planted-secret is no key")
    out = house.plan(*options).stdout
    assert "planted" not in out
    assert "the server said: [hidden] is no key" in out


def test_wrong_settings_end_it_before_the_tick(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSCALER_DRYRUN", "true")
    result = house.plan()
    assert result.exit_code == 2
    assert house.source.reads == []


def test_the_label_prefix_of_the_settings_is_used(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSCALER_LABEL_PREFIX", "acme")
    house.orchestrator.add("shop/worker", {"acme.queue": "orders"})
    assert json.loads(house.plan("--json").stdout)["services"][0]["queues"] == ["orders"]
