"""set, unset, pause, resume and overrides: with a running daemon, and without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autoscaler.cli import commands, live
from autoscaler.core.origin import Given
from autoscaler.core.override import Override
from autoscaler.orchestrators.place import Place
from autoscaler.wishes.overrides_file import OverridesFile
from tests.fakes.reports import service, tick
from tests.real.site import ServedSite
from tests.real.waiting import free_port

Env = pytest.MonkeyPatch


@pytest.fixture
def file(monkeypatch: Env, tmp_path: Path) -> OverridesFile:
    """The file of overrides of a machine without a daemon, where the user is anna."""
    monkeypatch.setenv("AUTOSCALER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("AUTOSCALER_LISTEN", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("LOGNAME", "anna")
    # These tests also run in a container.
    monkeypatch.setattr(Place, "here", Place)
    return OverridesFile(tmp_path / "state")


@pytest.fixture
def site(file: OverridesFile, monkeypatch: Env) -> Iterator[ServedSite]:
    """A daemon that looks after shop/worker, whose labels say min 2."""
    assert file
    given = {"temporal.queue": Given("orders", "label"), "temporal.min": Given("2", "label")}
    with ServedSite() as served:
        monkeypatch.setenv("AUTOSCALER_LISTEN", f"127.0.0.1:{served.port}")
        served.observe(tick(service(given=given)))
        yield served


def run(*words: str) -> Result:
    """Run an autoscaler command."""
    return CliRunner().invoke(commands, words, env={"COLUMNS": "200"})


def kept(file: OverridesFile) -> dict[str, Override]:
    return {each.name: each for each in file.read()}


def problems(*words: str) -> tuple[str, ...]:
    """Return what is wrong with a command."""
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    return tuple(line.removeprefix("autoscaler: ") for line in result.stderr.splitlines())


class TestSet:
    def test_values_are_kept_for_an_hour_with_who_and_why(self, file: OverridesFile) -> None:
        result = run("set", "shop/worker", "max=6", "min=2", "--reason", "deploy")
        assert result.exit_code == 0
        found = kept(file)
        assert {name: each.value for name, each in found.items()} == {"max": "6", "min": "2"}
        assert {each.lasts for each in found.values()} == {timedelta(hours=1)}
        assert {(each.by, each.reason) for each in found.values()} == {("anna", "deploy")}
        assert "shop/worker: max=6 until " in result.stdout
        assert " by anna: deploy" in result.stdout

    def test_ever_and_another_name_are_taken(self, file: OverridesFile) -> None:
        run("set", "shop/worker", "max=6", "--for", "ever", "--by", "bob")
        assert (kept(file)["max"].until, kept(file)["max"].by) == (None, "bob")

    def test_a_value_may_hold_an_equals_sign_and_a_name_the_prefix(
        self, file: OverridesFile
    ) -> None:
        run("set", "shop/worker", "temporal.queue=a=b")
        assert kept(file)["queue"].value == "a=b"

    def test_what_it_replaces_is_said(self, file: OverridesFile) -> None:
        assert file
        run("set", "shop/worker", "max=6", "--by", "bob")
        result = run("set", "shop/worker", "max=8")
        assert "instead of max=6 until " in result.stdout
        assert "by bob" in result.stdout

    def test_all_wrong_values_are_named_and_nothing_is_set(self, file: OverridesFile) -> None:
        assert problems("set", "shop/worker", "mx=6", "min=many", "target=5") == (
            "temporal.mx='6' is not a label, the nearest is temporal.max",
            "temporal.min='many' must be a whole number from 0 to 10000",
        )
        assert kept(file) == {}

    @pytest.mark.parametrize(
        "words",
        [
            ("set", "shop/worker", "max"),
            ("set", "shop/worker", "=6"),
            ("set", "worker/", "max=6"),
            ("set", "shop/worker", "max=6", "--for", "soon"),
        ],
    )
    def test_other_forms_are_refused(self, file: OverridesFile, words: tuple[str, ...]) -> None:
        assert problems(*words)
        assert kept(file) == {}

    def test_without_a_daemon_it_counts_once_one_runs(self, file: OverridesFile) -> None:
        assert file
        result = run("set", "shop/worker", "max=6")
        assert result.exit_code == 0
        assert "no daemon answers here; it counts once one runs" in result.stderr

    def test_a_folder_that_cannot_be_written_is_one_line(self, file: OverridesFile) -> None:
        file.folder.write_text("a file")
        result = run("set", "shop/worker", "max=6")
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert "AUTOSCALER_STATE names a folder" in line

    def test_a_damaged_file_is_said_and_set_aside(self, file: OverridesFile) -> None:
        file.folder.mkdir()
        file.path.write_bytes(b"{")
        result = run("set", "shop/worker", "max=6")
        assert result.exit_code == 0
        assert "are damaged" in result.stderr
        assert kept(file)["max"].value == "6"

    def test_in_a_container_without_a_volume_it_warns(
        self, file: OverridesFile, monkeypatch: Env
    ) -> None:
        monkeypatch.setattr(Place, "here", classmethod(lambda cls: cls(containers=("0" * 64,))))
        result = run("set", "shop/worker", "max=6")
        assert f"{file.folder} is no volume" in result.stderr


class TestWithADaemon:
    @pytest.mark.usefixtures("site")
    def test_a_service_that_it_knows_needs_no_word(self, file: OverridesFile) -> None:
        result = run("set", "shop/worker", "max=6")
        assert (result.exit_code, result.stderr) == (0, "")
        assert kept(file)["max"].value == "6"

    @pytest.mark.usefixtures("site")
    def test_one_that_it_does_not_know_is_a_warning_with_the_nearest(
        self, file: OverridesFile
    ) -> None:
        result = run("pause", "shop/wroker")
        assert result.exit_code == 0
        assert "no service shop/wroker; the nearest is shop/worker" in result.stderr
        assert kept(file)["mode"].value == "off"

    @pytest.mark.usefixtures("site")
    def test_a_value_that_contradicts_a_label_is_refused(self, file: OverridesFile) -> None:
        assert "not below min; min is 2" in problems("set", "shop/worker", "max=1")[0]
        assert kept(file) == {}

    def test_a_daemon_that_sees_no_services_cannot_tell(
        self, file: OverridesFile, site: ServedSite
    ) -> None:
        site.observe(tick(errors=("no Docker Engine answers",)))
        assert run("pause", "shop/mail").stderr == ""
        assert kept(file)["mode"].value == "off"


class TestPause:
    @pytest.mark.parametrize(
        ("options", "mode"),
        [
            ((), "off"),
            (("--in",), "pause-in"),
            (("--out",), "pause-out"),
            (("--in", "--out"), "off"),
        ],
    )
    def test_both_ways_or_one(
        self, file: OverridesFile, options: tuple[str, ...], mode: str
    ) -> None:
        run("pause", "shop/worker", *options, "--for", "30m", "--reason", "deploy")
        found = kept(file)["mode"]
        assert (found.value, found.lasts) == (mode, timedelta(minutes=30))

    def test_to_resume_ends_the_pause_and_nothing_else(self, file: OverridesFile) -> None:
        run("set", "shop/worker", "max=6")
        run("pause", "shop/worker")
        result = run("resume", "shop/worker")
        assert "removed paused until " in result.stdout
        assert [*kept(file)] == ["max"]

    @pytest.mark.parametrize("mode", [None, "dry-run"])
    def test_to_resume_what_is_not_paused_says_so(
        self, file: OverridesFile, mode: str | None
    ) -> None:
        if mode is not None:
            run("set", "shop/worker", f"mode={mode}")
        result = run("resume", "shop/worker")
        assert (result.exit_code, "is not paused" in result.stdout) == (0, True)
        assert ("mode" in kept(file)) is (mode is not None)


class TestUnset:
    def test_some_or_all(self, file: OverridesFile) -> None:
        run("set", "shop/worker", "max=6", "min=2", "target=5")
        assert "removed max=6" in run("unset", "shop/worker", "max").stdout
        assert set(kept(file)) == {"min", "target"}
        run("unset", "shop/worker")
        assert kept(file) == {}

    def test_what_is_not_set_is_a_bad_exit(self, file: OverridesFile) -> None:
        run("set", "shop/worker", "max=6")
        result = run("unset", "shop/worker", "max", "mn")
        assert result.exit_code == 1
        assert "not set for shop/worker: mn" in result.stderr
        assert kept(file) == {}

    @pytest.mark.usefixtures("file")
    def test_nothing_to_remove_is_no_error(self) -> None:
        result = run("unset", "shop/worker")
        assert (result.exit_code, result.stdout) == (0, "nothing is set for shop/worker\n")


class TestList:
    @pytest.mark.usefixtures("file")
    def test_it_shows_until_when_by_whom_and_why(self) -> None:
        run("set", "shop/worker", "max=6", "--reason", "deploy")
        run("pause", "shop_mail", "--for", "ever")
        text = run("overrides").stdout
        for words in ("shop/worker", "max=6", "left", "anna", "deploy", "mode=off", "removed"):
            assert words in text

    @pytest.mark.usefixtures("file")
    def test_as_json(self) -> None:
        run("set", "shop/worker", "max=6")
        (found,) = json.loads(run("overrides", "--json").stdout)
        assert (found["service"], found["orchestrator"]) == ("shop/worker", "compose")
        assert (found["name"], found["value"]) == ("max", "6")
        assert found["until"] - found["since"] == pytest.approx(3600)

    @pytest.mark.usefixtures("file")
    def test_nothing(self) -> None:
        assert run("overrides").stdout == "nothing is set\n"
        assert run("overrides", "--json").stdout == "[]\n"


def test_a_user_without_a_name_is_a_number(monkeypatch: Env) -> None:
    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", nobody)
    assert live.user().startswith("user ")
