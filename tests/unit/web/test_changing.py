"""PUT and DELETE of overrides: what they set, what they refuse, and that they say who asked."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.model import ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.override import Override
from autoscaler.web.changing import LONGEST_BODY, MOST_CHANGES
from autoscaler.web.pace import Pace
from autoscaler.wishes.overrides_file import OverridesFile
from tests.fakes.reports import service, tick
from tests.real.site import ServedSite

TOKEN = "correct-horse-battery-staple"
PATH = "/api/services/compose/shop/worker/overrides"
LABELS = {"temporal.queue": Given("orders", "label"), "temporal.min": Given("2", "label")}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    json: Any


class Place:
    """A daemon that has seen the service shop/worker, and the file that it keeps overrides in."""

    def __init__(self, folder: Path, token: str | None = TOKEN) -> None:
        self.file = OverridesFile(folder / "state")
        self.site = ServedSite(token, state=self.file.folder)
        self.site.observe(tick(service(given=LABELS)))

    def send(
        self,
        method: str,
        body: object = None,
        path: str = PATH,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request with the token."""
        given = {"Authorization": f"Bearer {TOKEN}", **(headers or {})}
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=30)
        try:
            connection.request(method, path, content, given)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, json.loads(answer.read()))
        finally:
            connection.close()

    def put(self, **values: object) -> Answer:
        return self.send("PUT", {"values": values})

    @property
    def kept(self) -> dict[str, Override]:
        return {each.name: each for each in self.file.read()}

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.site.log.splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.site.stop()


class TestPut:
    def test_it_sets_values_for_an_hour_by_the_page(self, place: Place) -> None:
        answer = place.put(max=6)
        assert answer.status == 200
        kept = place.kept["max"]
        assert (kept.service, kept.value) == (ServiceId("compose", "shop/worker"), "6")
        assert (kept.by, kept.reason, kept.lasts) == ("page", "", timedelta(hours=1))

    def test_it_answers_what_is_set_now(self, place: Place) -> None:
        place.put(max=6)
        answer = place.put(mode="off")
        assert [each["what"] for each in answer.json["overrides"]] == ["max=6", "paused"]

    def test_it_takes_a_time_a_reason_and_a_name(self, place: Place) -> None:
        body = {"values": {"max": "6"}, "for": "ever", "reason": "deploy", "by": "anna"}
        place.send("PUT", body)
        kept = place.kept["max"]
        assert (kept.until, kept.reason, kept.by) == (None, "deploy", "anna")

    def test_a_name_may_have_the_prefix_of_labels(self, place: Place) -> None:
        place.put(**{"temporal.max": 6})
        assert place.kept["max"].value == "6"

    def test_a_swarm_service_has_a_name_of_one_part(self, place: Place) -> None:
        found = service("shop_worker", given=LABELS)
        swarm = ServiceId("swarm", "shop_worker")
        place.site.observe(tick(type(found)(swarm, 1, 1, given=LABELS)))
        answer = place.send(
            "PUT", {"values": {"max": 6}}, "/api/services/swarm/shop_worker/overrides"
        )
        assert (answer.status, place.kept["max"].service) == (200, swarm)

    def test_it_is_logged_with_the_address_of_the_caller(self, place: Place) -> None:
        place.put(max=6)
        (line,) = [line for line in place.log if line["event"] == "override set"]
        assert (line["service"], line["value"], line["by"]) == ("shop/worker", "max=6", "page")
        assert line["address"] == "127.0.0.1"


class TestDelete:
    def test_it_removes_what_is_named(self, place: Place) -> None:
        place.put(max=6, min=3)
        answer = place.send("DELETE", path=f"{PATH}?name=max")
        assert answer.status == 200
        assert [*place.kept] == ["min"]
        assert [each["name"] for each in answer.json["overrides"]] == ["min"]
        (line,) = [line for line in place.log if line["event"] == "override unset"]
        assert (line["value"], line["address"]) == ("max=6", "127.0.0.1")

    def test_without_a_name_it_removes_all(self, place: Place) -> None:
        place.put(max=6, min=3)
        assert place.send("DELETE").status == 200
        assert place.kept == {}

    def test_it_removes_what_is_set_for_a_service_that_is_gone(self, place: Place) -> None:
        place.put(max=6)
        place.site.observe(tick())
        assert place.send("DELETE").status == 200
        assert place.kept == {}

    def test_what_is_not_set_is_not_found(self, place: Place) -> None:
        answer = place.send("DELETE", path=f"{PATH}?name=max")
        assert (answer.status, answer.json["error"]) == (404, "not set for shop/worker: max")


class TestWrong:
    def test_all_wrong_values_are_named_at_once_and_nothing_is_set(self, place: Place) -> None:
        answer = place.put(mx=6, target="many", min=3)
        assert answer.status == 400
        assert answer.json["problems"] == [
            "temporal.mx='6' is not a label, the nearest is temporal.max",
            "temporal.target='many' must be a whole number from 1 to 1000000000",
        ]
        assert answer.json["error"] == "; ".join(answer.json["problems"])
        assert place.kept == {}

    def test_a_value_may_not_contradict_a_label(self, place: Place) -> None:
        answer = place.put(max=1)
        assert "not below min; min is 2" in answer.json["error"]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            {},
            {"values": {}},
            {"values": {"max": True}},
            {"values": {"max": None}},
            {"values": {"max": {"a": 1}}},
            {"values": "max=6"},
            {"values": {"max": 6}, "until": "1h"},
            {"values": {"max": 6}, "for": 60},
        ],
        ids=str,
    )
    def test_another_form_is_refused_with_the_right_one(self, place: Place, body: object) -> None:
        answer = place.send("PUT", body)
        assert answer.status == 400
        assert '{"values": {"max": 6}' in answer.json["error"]
        assert "\n" not in answer.json["error"]

    def test_a_wrong_time_and_a_long_reason_are_named_together(self, place: Place) -> None:
        body = {"values": {"max": 6}, "for": "soon", "reason": "x" * 201}
        assert len(place.send("PUT", body).json["problems"]) == 2

    def test_an_unknown_service_is_not_found_and_the_nearest_named(self, place: Place) -> None:
        path = "/api/services/compose/shop/wroker/overrides"
        answer = place.send("PUT", {"values": {"max": 6}}, path)
        assert answer.status == 404
        assert answer.json["error"].endswith("shop/wroker; the nearest is shop/worker")

    def test_a_folder_that_cannot_be_written_is_said(self, place: Place) -> None:
        place.file.folder.write_text("a file")
        answer = place.put(max=6)
        assert answer.status == 500
        assert "AUTOSCALER_STATE" in answer.json["error"]


class TestWhoMay:
    @pytest.mark.parametrize("given", [None, "Bearer wrong-token-wrong", "Basic YTpi"])
    def test_nobody_without_the_token(self, place: Place, given: str | None) -> None:
        headers = {"Authorization": given or "", "Cookie": f"token={TOKEN}"}
        for method in ("PUT", "DELETE"):
            answer = place.send(method, {"values": {"max": 6}}, headers=headers)
            assert answer.status == 401
        assert place.kept == {}

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", ""])
    def test_no_page_of_another_origin(self, place: Place, origin: str) -> None:
        for method in ("PUT", "DELETE"):
            answer = place.send(method, {"values": {"max": 6}}, headers={"Origin": origin})
            assert answer.status == 403
        assert place.kept == {}

    def test_the_page_of_the_daemon_itself_may(self, place: Place) -> None:
        own = {"Origin": f"http://127.0.0.1:{place.site.port}"}
        assert place.send("PUT", {"values": {"max": 6}}, headers=own).status == 200

    def test_without_a_token_of_the_daemon_nobody_may(self, tmp_path: Path) -> None:
        place = Place(tmp_path, token=None)
        try:
            for method in ("PUT", "DELETE"):
                answer = place.send(method, {"values": {"max": 6}})
                assert answer.status == 403
                assert "AUTOSCALER_ACCESS_TOKEN" in answer.json["error"]
            assert place.kept == {}
        finally:
            place.site.stop()

    @pytest.mark.parametrize("method", ["POST", "PATCH", "GET"])
    def test_no_other_method_changes_anything(self, place: Place, method: str) -> None:
        assert place.send(method, {"values": {"max": 6}}).status == 405


class TestLimits:
    def test_a_long_body_is_refused(self, place: Place) -> None:
        body = json.dumps({"values": {"max": "6"}, "reason": "x" * LONGEST_BODY}).encode()
        assert place.send("PUT", body).status == 413

    def test_too_many_changes_are_told_to_wait(self, place: Place) -> None:
        statuses = [place.put(max=6).status for _ in range(MOST_CHANGES)]
        assert set(statuses) == {200}
        answer = place.put(max=7)
        assert answer.status == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert place.kept["max"].value == "6"


class TestPace:
    def test_so_many_in_a_span_and_then_as_time_passes(self) -> None:
        pace = Pace(2, timedelta(seconds=10))
        assert [pace.wait(0), pace.wait(4), pace.wait(5)] == [0, 0, 5]
        assert [pace.wait(10), pace.wait(10.5)] == [0, 4]
