"""The services files of a folder: what they want of services, and when that changes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from autoscaler.core.errors import LabelError
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.origin import Given
from autoscaler.wishes import folder
from autoscaler.wishes.files import Files
from autoscaler.wishes.folder import LARGEST, MOST_FILES
from autoscaler.wishes.labels import Labels
from autoscaler.wishes.wishes import Wishes

WORKER = ServiceId("compose", "shop/worker")


def service(name: str = "shop/worker", **labels: str) -> Service:
    """Describe a service by its labels, without their prefix."""
    given = {f"temporal.{label}": value for label, value in labels.items()}
    return Service(ServiceId("compose", name), given, replicas=1)


def file_of(name: str = "shop/worker", **values: object) -> str:
    """Return a file that gives these values to one service."""
    lines = [f"    {key}: {value}" for key, value in values.items()]
    return "\n".join(["services:", f"  {name!r}:", *lines, ""])


class Place:
    """A folder, and what reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "services"
        self.path.mkdir()
        self.files = Files(self.path, "temporal")

    def write(self, name: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        (self.path / name).write_bytes(data)

    async def max(self, name: str = "shop/worker") -> str | None:
        """Read what has changed, and return the largest number that a service is given."""
        await self.files.renew()
        given = self.files.given(service(name)).get("temporal.max")
        return None if given is None else given.value


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass between the two reads of a folder."""
    monkeypatch.setattr(folder, "SETTLED_AFTER", 0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def between_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that lets something happen between the next two reads of a folder."""

    def set_up(happen: Callable[[], object]) -> None:
        todo = [happen]

        def sleep(_: float) -> None:
            if todo:
                todo.pop()()

        monkeypatch.setattr(folder.time, "sleep", sleep)

    return set_up


class TestValues:
    async def test_they_have_the_full_names_of_labels_and_their_origin(self, place: Place) -> None:
        place.write("shop.yaml", file_of(max=6))
        assert await place.files.renew()
        assert place.files.given(service()) == {"temporal.max": Given("6", "shop.yaml:3")}
        assert place.files.given(service("shop/mailer")) == {}

    async def test_later_files_win_over_earlier_ones_by_name(self, place: Place) -> None:
        place.write("20.yaml", file_of(max=6))
        place.write("10.yml", file_of(max=4, min=2))
        await place.files.renew()
        assert place.files.given(service()) == {
            "temporal.max": Given("6", "20.yaml:3"),
            "temporal.min": Given("2", "10.yml:4"),
        }

    async def test_patterns_come_first_in_order_and_exact_names_have_the_last_word(
        self, place: Place
    ) -> None:
        place.write("a.yaml", file_of(max=1))
        place.write("b.yaml", file_of("shop/*", max=2, min=2, target=2))
        place.write("c.yaml", file_of("*/worker", max=3, min=3))
        await place.files.renew()
        given = place.files.given(service())
        assert {name: each.value for name, each in given.items()} == {
            "temporal.max": "1",
            "temporal.min": "3",
            "temporal.target": "2",
        }

    async def test_they_win_over_labels(self, place: Place) -> None:
        place.write("shop.yaml", file_of(max=6))
        wishes = Wishes([Labels("temporal"), place.files], "temporal")
        await wishes.renew()
        wish = wishes.of(service(queue="orders", max="4"))
        assert wish.spec is not None
        assert wish.spec.max == 6
        assert wish.origins == {"temporal.queue": "label", "temporal.max": "shop.yaml:3"}


class TestAdoption:
    async def test_a_queue_makes_a_service_one_that_is_looked_after(self, place: Place) -> None:
        place.write("shop.yaml", file_of(queue="orders"))
        await place.files.renew()
        assert place.files.looks_after(WORKER, {})
        assert not place.files.looks_after(ServiceId("compose", "shop/mailer"), {})

    async def test_other_values_alone_do_not(self, place: Place) -> None:
        place.write("shop.yaml", file_of(max=6))
        await place.files.renew()
        assert not place.files.looks_after(WORKER, {})

    async def test_it_ends_with_the_file(self, place: Place) -> None:
        place.write("shop.yaml", file_of(queue="orders"))
        await place.files.renew()
        (place.path / "shop.yaml").unlink()
        assert await place.files.renew()
        assert not place.files.looks_after(WORKER, {})


class TestNamesThatLeadNowhere:
    THERE = frozenset({WORKER, ServiceId("compose", "shop/mailer"), ServiceId("swarm", "crm_api")})

    async def astray(self, place: Place, name: str, **values: object) -> tuple[str, ...]:
        place.write("shop.yaml", file_of(name, **values))
        await place.files.renew()
        return tuple(place.files.astray(self.THERE, {WORKER}))

    async def test_one_that_no_service_has_is_said_with_the_nearest(self, place: Place) -> None:
        (said,) = await self.astray(place, "shop/wroker", max=6)
        assert said == (
            "services file shop.yaml:2: no service is named 'shop/wroker', the nearest is"
            " shop/worker; correct the name, or deploy the service"
        )

    async def test_so_is_a_pattern_that_matches_none(self, place: Place) -> None:
        (said,) = await self.astray(place, "mail/*", max=6)
        assert "no service is named 'mail/*'" in said

    async def test_so_is_a_service_that_is_not_looked_after(self, place: Place) -> None:
        (said,) = await self.astray(place, "shop/mailer", max=6)
        assert "shop/mailer has neither a label of the autoscaler nor a queue" in said

    @pytest.mark.parametrize("name", ["shop/worker", "shop/*", "crm_*"])
    async def test_others_are_not(self, place: Place, name: str) -> None:
        assert await self.astray(place, name, max=6) == ()

    async def test_without_files_there_is_nothing_to_say(self, place: Place) -> None:
        await place.files.renew()
        assert place.files.astray(self.THERE, ()) == ()


class TestWhichFiles:
    @pytest.mark.parametrize(
        "name",
        [
            "shop.yaml~", "shop.yaml.bak", ".shop.yaml", ".shop.yaml.swp", ".#shop.yaml",
            "#shop.yaml#", "shop.json", "shop.yaml.tmp", "README.md",
        ],
    )  # fmt: skip
    async def test_hidden_ones_and_those_of_editors_do_not_count(
        self, place: Place, name: str
    ) -> None:
        place.write(name, "of nobody's business: [")
        assert not await place.files.renew()
        assert place.files.warnings == ()

    async def test_a_link_to_a_folder_that_is_swapped_is_followed(self, place: Place) -> None:
        """Kubernetes and Docker publish a new version of all files at once in this way."""
        for version, most in (("..v1", 4), ("..v2", 6)):
            (place.path / version).mkdir()
            place.write(f"{version}/shop.yaml", file_of(max=most))
        (place.path / "..data").symlink_to("..v1")
        (place.path / "shop.yaml").symlink_to("..data/shop.yaml")
        assert await place.max() == "4"
        (place.path / "new").symlink_to("..v2")
        (place.path / "new").rename(place.path / "..data")
        assert await place.max() == "6"

    @pytest.mark.parametrize("kind", ["folder", "pipe", "broken link"])
    async def test_what_is_no_file_is_named_and_waits_for_nobody(
        self, place: Place, kind: str
    ) -> None:
        path = place.path / "shop.yaml"
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("nowhere")
        place.write("other.yaml", file_of(max=6))
        assert await place.max() == "6"
        (warning,) = place.files.warnings
        assert warning.startswith("services file shop.yaml ")

    async def test_a_giant_file_is_not_read(self, place: Place) -> None:
        place.write("other.yaml", file_of(max=6))
        place.write("shop.yaml", b"#" * (LARGEST + 1))
        assert await place.max() == "6"
        (warning,) = place.files.warnings
        assert "shop.yaml is larger than 256 KiB; split it" in warning

    async def test_only_so_many_files_are_read(self, place: Place) -> None:
        for number in range(MOST_FILES + 1):
            place.write(f"{number:04}.yaml", file_of(f"shop/{number}", max=6))
        assert await place.max(f"shop/{MOST_FILES - 1}") == "6"
        assert await place.max(f"shop/{MOST_FILES}") is None
        (warning,) = place.files.warnings
        assert f"of {MOST_FILES + 1}, the first {MOST_FILES} count" in warning


class TestChanges:
    async def test_only_what_is_wanted_differently_counts_as_a_change(self, place: Place) -> None:
        assert not await place.files.renew()
        place.write("shop.yaml", file_of(max=6))
        assert await place.files.renew()
        assert not await place.files.renew()
        (place.path / "shop.yaml").touch()
        assert not await place.files.renew()

    @pytest.mark.parametrize("keeps_times", [False, True])
    async def test_a_write_of_the_same_length_is_seen(
        self, place: Place, *, keeps_times: bool
    ) -> None:
        path = place.path / "shop.yaml"
        place.write("shop.yaml", file_of(max=4))
        assert await place.max() == "4"
        times = path.stat()
        place.write("shop.yaml", file_of(max=6))
        if keeps_times:
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert await place.max() == "6"

    async def test_so_is_a_file_that_takes_the_name_of_another(self, place: Place) -> None:
        place.write("shop.yaml", file_of(max=4))
        assert await place.max() == "4"
        place.write("new", file_of(max=6))
        (place.path / "new").rename(place.path / "shop.yaml")
        assert await place.max() == "6"

    async def test_the_files_are_as_they_were_until_they_are_renewed(self, place: Place) -> None:
        """A tick asks several times, and has to be told the same."""
        place.write("shop.yaml", file_of(max=4))
        await place.files.renew()
        place.write("shop.yaml", file_of(max=6))
        assert place.files.given(service())["temporal.max"].value == "4"

    async def test_whoever_watches_is_told(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("autoscaler.wishes.files.WATCHED_EVERY", 0.001)
        await place.files.renew()
        changed = asyncio.Event()
        watching = asyncio.create_task(place.files.watch(changed.set))
        for content in (file_of(max=4), file_of(max=6), None):
            if content is None:
                (place.path / "shop.yaml").unlink()
            else:
                place.write("shop.yaml", content)
            await asyncio.wait_for(changed.wait(), 10)
            await place.files.renew()
            changed.clear()
        watching.cancel()


class TestWhileItIsBeingWritten:
    @pytest.fixture
    async def place(self, tmp_path: Path) -> Place:
        place = Place(tmp_path)
        place.write("shop.yaml", file_of(max=40))
        assert await place.max() == "40"
        return place

    async def test_a_file_that_was_just_emptied_counts_as_before(
        self, place: Place, between_reads: Callable[[Callable[[], object]], None]
    ) -> None:
        place.write("shop.yaml", "")
        between_reads(lambda: place.write("shop.yaml", file_of(max=60)))
        assert await place.max() == "40"
        assert place.files.warnings == ()
        assert await place.max() == "60"

    async def test_half_a_number_is_not_taken_for_the_whole(
        self, place: Place, between_reads: Callable[[Callable[[], object]], None]
    ) -> None:
        place.write("shop.yaml", file_of(max=60)[:-2])
        between_reads(lambda: place.write("shop.yaml", file_of(max=60)))
        assert await place.max() == "40"
        assert await place.max() == "60"

    async def test_the_gap_between_two_renames_is_no_deletion(
        self, place: Place, between_reads: Callable[[Callable[[], object]], None]
    ) -> None:
        path = place.path / "shop.yaml"
        backup = path.rename(place.path / "shop.yaml~")
        between_reads(lambda: backup.rename(path))
        assert await place.max() == "40"
        assert await place.max() == "40"

    async def test_the_other_files_do_not_wait_for_it(
        self, place: Place, between_reads: Callable[[Callable[[], object]], None]
    ) -> None:
        place.write("mail.yaml", file_of("mail/worker", max=3))
        place.write("shop.yaml", "")
        between_reads(lambda: place.write("shop.yaml", file_of(max=60)))
        assert await place.max("mail/worker") == "3"


class TestWrongFiles:
    BAD = "services:\n  shop/worker:\n    max: many\n    mxa: 3\n"

    async def test_the_last_good_one_counts_and_all_that_is_wrong_is_said(
        self, place: Place
    ) -> None:
        place.write("shop.yaml", file_of(max=6))
        await place.files.renew()
        place.write("shop.yaml", self.BAD)
        assert await place.max() == "6"
        first, second = place.files.warnings
        assert first.startswith("services file shop.yaml:3: max='many' must be a whole number")
        assert second.startswith("services file shop.yaml:4: mxa='3' is not a label, the nearest")
        assert first.endswith("; the file counts as it was before")

    async def test_the_other_files_go_on(self, place: Place) -> None:
        place.write("a.yaml", "services: [")
        place.write("b.yaml", file_of(max=6))
        assert await place.max() == "6"
        place.write("b.yaml", file_of(max=8))
        assert await place.max() == "8"

    async def test_a_wrong_file_that_is_deleted_takes_its_last_good_values_away(
        self, place: Place
    ) -> None:
        place.write("shop.yaml", file_of(max=6))
        await place.files.renew()
        place.write("shop.yaml", self.BAD)
        await place.files.renew()
        (place.path / "shop.yaml").unlink()
        assert await place.max() is None
        assert place.files.warnings == ()

    async def test_one_that_is_right_again_counts(self, place: Place) -> None:
        place.write("shop.yaml", self.BAD)
        await place.files.renew()
        place.write("shop.yaml", file_of(max=8))
        assert await place.max() == "8"
        assert place.files.warnings == ()

    @pytest.mark.parametrize("text", [BAD, BAD + "\tx: ["])
    async def test_one_that_was_never_right_holds_the_services_that_it_names(
        self, place: Place, text: str
    ) -> None:
        """What it wants of them is unknown: the labels alone may mean far fewer replicas."""
        place.write("shop.yaml", text)
        await place.files.renew()
        with pytest.raises(LabelError, match=r"shop\.yaml names this service and was never right"):
            place.files.given(service())
        assert place.files.given(service("mail/worker")) == {}
        assert not place.files.looks_after(WORKER, {})
        assert all("keep their replicas" in each for each in place.files.warnings)

    async def test_a_name_that_no_terminal_should_be_shown_is_escaped(self, place: Place) -> None:
        place.write("a\x1b[2Jb.yaml", self.BAD)
        await place.files.renew()
        assert all(each.isprintable() for each in place.files.warnings)


class TestWithoutTheFolder:
    async def test_one_that_somebody_has_named_and_that_is_missing_holds_every_service(
        self, tmp_path: Path
    ) -> None:
        files = Files(tmp_path / "missing", "temporal")
        assert await files.renew()
        (warning,) = files.warnings
        assert warning.startswith(f"AUTOSCALER_SERVICES={tmp_path}/missing: the folder cannot be")
        with pytest.raises(LabelError, match="until then no service is changed"):
            files.given(service(queue="orders"))

    async def test_once_it_is_there_all_is_well(self, tmp_path: Path) -> None:
        path = tmp_path / "missing"
        files = Files(path, "temporal")
        await files.renew()
        path.mkdir()
        assert await files.renew()
        assert files.warnings == ()
        assert files.given(service()) == {}

    async def test_the_usual_one_may_be_missing(self, tmp_path: Path) -> None:
        files = Files(tmp_path / "missing", "temporal", expected=False)
        assert not await files.renew()
        assert files.warnings == ()
        assert files.given(service()) == {}

    @pytest.mark.parametrize("expected", [True, False])
    async def test_one_that_goes_away_leaves_what_its_files_said(
        self, place: Place, tmp_path: Path, *, expected: bool
    ) -> None:
        place.files = Files(place.path, "temporal", expected=expected)
        place.write("shop.yaml", file_of(max=6))
        assert await place.max() == "6"
        place.path.rename(tmp_path / "elsewhere")
        assert await place.max() == "6"
        (warning,) = place.files.warnings
        assert warning.endswith("its files count as they were before")

    async def test_an_empty_one_that_goes_away_holds_nobody(self, place: Place) -> None:
        await place.files.renew()
        place.path.rmdir()
        await place.files.renew()
        assert place.files.given(service()) == {}
        assert len(place.files.warnings) == 1
