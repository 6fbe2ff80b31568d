"""The paths: what they answer, to whom, and that nothing can be changed through them."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.web.site import Page
from tests.fakes.reports import integration, service, tick
from tests.real.site import ABOUT, ServedSite

TOKEN = "correct-horse-battery-staple"
PATHS = ("/", "/api/services", "/api/stream", "/metrics", "/healthz", "/readyz")
OPEN = ("/healthz", "/readyz")
LOCKED = tuple(path for path in (*PATHS, "/nowhere", "/healthz/") if path not in OPEN)
PLANTED = ("planted-service", "planted-queue", "planted-endpoint")
"""What only those with the token may read."""


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(site: ServedSite, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask for a path; of a stream only the first message is read."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        stream = answer.headers.get_content_type() == "text/event-stream"
        read = b"".join(answer.readline() for _ in range(3)) if stream else answer.read()
        return Answer(answer.status, answer.headers, read.decode())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def site() -> Iterator[ServedSite]:
    """A site that has seen a tick."""
    with ServedSite() as served:
        served.observe(tick(service()))
        yield served


@pytest.fixture(scope="module")
def locked() -> Iterator[ServedSite]:
    """A site that asks for a token, with something to hide."""
    with ServedSite(TOKEN) as served:
        planted, queue, endpoint = PLANTED
        found = (integration(endpoint=f"{endpoint}:7233"),)
        served.observe(tick(service(planted, queue=queue), integrations=found))
        yield served


class TestServicePage:
    @pytest.mark.parametrize(
        ("path", "place"),
        [
            ("/services/compose/shop/worker", "../../../#/compose/shop/worker"),
            ("/services/swarm/shop_worker", "../../#/swarm/shop_worker"),
            ("/services/compose/a%20b/%3Cc%3E", "../../../#/compose/a%20b/%3Cc%3E"),
        ],
    )
    def test_its_address_leads_to_its_place_in_the_page_whatever_stands_before_it(
        self, site: ServedSite, path: str, place: str
    ) -> None:
        answer = ask(site, path)
        assert (answer.status, answer.headers["Location"]) == (307, place)

    def test_it_needs_no_token_because_it_tells_nothing(self, locked: ServedSite) -> None:
        for name in (PLANTED[0], "nowhere"):
            answer = ask(locked, f"/services/compose/shop/{name}", accept="text/html")
            assert (answer.status, answer.body) == (307, "")

    @pytest.mark.parametrize("path", ["/services/../api/services", "/services//evil.example/x"])
    def test_it_leads_nowhere_else(self, locked: ServedSite, path: str) -> None:
        answer = ask(locked, path)
        assert (answer.status, answer.body) in {(307, ""), (404, '{"error":"Not Found"}')}
        assert answer.headers.get("Location", "../").startswith("../")


class TestPaths:
    def test_services_are_json(self, site: ServedSite) -> None:
        answer = ask(site, "/api/services")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert [seen["service"] for seen in answer.json["services"]] == ["shop/worker"]

    def test_the_stream_begins_with_everything(self, site: ServedSite) -> None:
        answer = ask(site, "/api/stream")
        assert answer.headers.get_content_type() == "text/event-stream"
        event, data, end = answer.body.split("\n", 2)
        assert (event, end) == ("event: state", "\n")
        assert "compose:shop/worker" in json.loads(data.removeprefix("data: "))["services"]

    def test_metrics_are_what_prometheus_asks_for(self, site: ServedSite) -> None:
        plain = ask(site, "/metrics")
        assert plain.headers["Content-Type"].startswith("text/plain")
        assert 'autoscaler_replicas{service="shop/worker"} 1.0' in plain.body
        openmetrics = ask(site, "/metrics", accept="application/openmetrics-text; version=1.0.0")
        assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text")

    def test_health_is_yes_or_no(self, site: ServedSite) -> None:
        assert [ask(site, path).status for path in OPEN] == [200, 200]
        with ServedSite() as new:
            assert [ask(new, path).status for path in OPEN] == [200, 503]

    def test_a_loop_that_ticks_no_more_is_unhealthy(self) -> None:
        about = replace(ABOUT, stalled_after=timedelta())
        with ServedSite(about=about) as served:
            served.observe(tick())
            assert [ask(served, path).status for path in OPEN] == [503, 503]
            assert ask(served, "/api/services").status == 200

    def test_an_unknown_path_is_404_in_json(self, site: ServedSite) -> None:
        answer = ask(site, "/nowhere")
        assert (answer.status, answer.json) == (404, {"error": "Not Found"})

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_nothing_can_be_changed(self, site: ServedSite, path: str, method: str) -> None:
        assert ask(site, path, method).status == 405

    def test_a_long_answer_is_packed_for_those_who_can_unpack_it(self, site: ServedSite) -> None:
        packed = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        packed.request("GET", "/", headers={"Accept-Encoding": "gzip"})
        assert packed.getresponse().headers["Content-Encoding"] == "gzip"
        packed.close()


class TestPage:
    def test_it_loads_nothing_from_outside(self, site: ServedSite) -> None:
        body = ask(site, "/").body
        assert re.findall(r"(?:src|href|action)=[\"'](?!#|data:)", body) == []
        assert re.findall(r"url\(|@import|import\(", body) == []
        outside = set(re.findall(r"https?:[^\s'\")]*", body))
        assert outside <= {"http://www.w3.org/2000/svg"}, "not an address, but a name of SVG's"

    def test_its_policy_lets_nothing_else_be_loaded_or_run(self, site: ServedSite) -> None:
        policy = ask(site, "/").headers["Content-Security-Policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"].startswith("'sha256-")
        assert rules["frame-ancestors"] == "'none'"
        assert "unsafe" not in policy
        assert "*" not in policy

    def test_every_answer_says_how_it_may_be_used(self, site: ServedSite) -> None:
        for path in (*PATHS, "/nowhere"):
            headers = ask(site, path).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert "Access-Control-Allow-Origin" not in headers
            assert "Server" not in headers

    def test_it_holds_no_data_of_the_daemon(self) -> None:
        with ServedSite() as one, ServedSite() as other:
            other.observe(tick(service("planted")))
            assert ask(one, "/").body == ask(other, "/").body

    def test_it_writes_words_into_the_page_as_text_only(self) -> None:
        body = bytes(Page().answer().body).decode()
        assert (
            re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", body) == []
        )


class TestToken:
    def test_it_opens_everything(self, locked: ServedSite) -> None:
        for path in PATHS:
            assert ask(locked, path, authorization=f"Bearer {TOKEN}").status == 200

    def test_health_is_open_without(self, locked: ServedSite) -> None:
        assert [ask(locked, path).status for path in OPEN] == [200, 200]

    @pytest.mark.parametrize("path", LOCKED)
    @pytest.mark.parametrize(
        "authorization",
        [
            pytest.param(None, id="none"),
            pytest.param("Bearer wrong", id="wrong"),
            pytest.param("Bearer", id="no-token"),
            pytest.param(f"Bearer {TOKEN[:-1]}", id="part"),
            pytest.param(f"Bearer {TOKEN}x", id="longer"),
            pytest.param(f"Basic {TOKEN}", id="another-scheme"),
            pytest.param(TOKEN, id="no-scheme"),
            pytest.param("Bearer \xff\xfe", id="not-ascii"),
        ],
    )
    def test_without_the_right_one_it_is_401(
        self, locked: ServedSite, path: str, authorization: str | None
    ) -> None:
        given = {} if authorization is None else {"authorization": authorization}
        answer = ask(locked, path, **given)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert not any(word in answer.body for word in (*PLANTED, TOKEN))

    @pytest.mark.parametrize(
        "header",
        [
            ("X_Forwarded_For", "127.0.0.1"),
            ("X_Real_IP", "127.0.0.1"),
            ("Forwarded", "for=127.0.0.1;host=localhost"),
            ("X_Forwarded_Host", "localhost"),
            ("X_Forwarded_User", "root"),
            ("X_Original_URL", "/healthz"),
            ("X_Rewrite_URL", "/healthz"),
            ("X_HTTP_Method_Override", "HEAD"),
            ("X_Forwarded_Prefix", "/healthz"),
            ("Host", "localhost"),
            ("Cookie", f"token={TOKEN}"),
            ("Proxy_Authorization", f"Bearer {TOKEN}"),
            ("Upgrade", "h2c"),
            ("Accept", "text/html"),
        ],
        ids=lambda header: header[0],
    )
    @pytest.mark.parametrize("path", LOCKED)
    def test_no_header_makes_it_leak(
        self, locked: ServedSite, path: str, header: tuple[str, str]
    ) -> None:
        name, value = header
        answer = ask(locked, path, **{name: value})
        assert answer.status == 401
        assert not any(word in answer.body for word in (*PLANTED, TOKEN))

    @pytest.mark.parametrize("path", ["//api/services", "/healthz/../api/services", "/readyz;/"])
    def test_no_way_of_writing_a_path_makes_it_leak(self, locked: ServedSite, path: str) -> None:
        answer = ask(locked, path)
        assert answer.status == 401
        assert not any(word in answer.body for word in PLANTED)

    def test_a_browser_is_shown_where_to_enter_it(self, locked: ServedSite) -> None:
        answer = ask(locked, "/", accept="text/html")
        assert answer.status == 401
        assert 'type="password"' in answer.body


class TestNames:
    @pytest.mark.parametrize(
        "host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "autoscaler:8080", "192.168.1.7"]
    )
    def test_what_is_near_is_answered(self, site: ServedSite, host: str) -> None:
        assert ask(site, "/api/services", host=host).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.nip.example",
            "evil.example.",
            "[",
            "[x]",
            "",
        ],
    )
    def test_a_page_of_the_internet_under_our_address_is_not(
        self, site: ServedSite, host: str
    ) -> None:
        for path in ("/", "/api/services", "/api/stream", "/metrics"):
            answer = ask(site, path, host=host)
            assert answer.status == 421
            assert "AUTOSCALER_ACCESS_TOKEN" in answer.json["error"]
            assert "shop/worker" not in answer.body

    def test_with_a_token_any_name_will_do(self, locked: ServedSite) -> None:
        answer = ask(
            locked, "/api/services", host="scaler.example", authorization=f"Bearer {TOKEN}"
        )
        assert answer.status == 200


def test_an_error_nobody_expected_is_a_line_in_the_log_and_no_traceback_for_the_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("autoscaler.web.board.Board.services", fail)
    with ServedSite() as broken:
        answer = ask(broken, "/api/services")
    assert answer.status == 500
    assert answer.json == {"error": "the daemon's log says what went wrong"}
    assert "page failed" in broken.log
    assert "unexpected ZeroDivisionError: division by zero" in broken.log
