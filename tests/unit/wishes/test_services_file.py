"""One services file: what it gives to whom, and all that is wrong with it."""

from __future__ import annotations

import pytest

from autoscaler.core.origin import Given
from autoscaler.wishes.services_file import Entry, ServicesFile, read_services_file
from autoscaler.wishes.yaml_tree import DEEPEST, MOST_PROBLEMS

GOOD = """\
# what the shop needs
services:
  shop/worker:
    queue: orders
    max: 40
  "shop/*":
    scale-in.window: 5m
"""


def read(text: str | bytes) -> ServicesFile:
    """Read a file named shop.yaml."""
    return read_services_file("shop.yaml", text.encode() if isinstance(text, str) else text)


def problems(text: str | bytes) -> tuple[str, ...]:
    return read(text).problems


def values(written: str) -> dict[str, str]:
    """Return what a service is given by these lines, without where that stands."""
    lines = "".join(f"    {line}\n" for line in written.splitlines())
    found = read(f"services:\n  shop/worker:\n{lines}")
    assert found.problems == ()
    (entry,) = found.entries
    return {name: given.value for name, given in entry.values.items()}


class TestValues:
    def test_each_has_its_file_and_line_as_its_origin(self) -> None:
        found = read(GOOD)
        assert found.problems == ()
        assert found.entries == (
            Entry(
                "shop/worker",
                3,
                {"queue": Given("orders", "shop.yaml:4"), "max": Given("40", "shop.yaml:5")},
            ),
            Entry("shop/*", 6, {"scale-in.window": Given("5m", "shop.yaml:7")}),
        )

    @pytest.mark.parametrize("written", ["on", "off", "'off'", "true", "false", "dry-run"])
    def test_words_that_yaml_may_take_for_booleans_stay_words(self, written: str) -> None:
        assert values(f"mode: {written}") == {"mode": written.strip("'")}

    @pytest.mark.parametrize("written", ["off", "auto", "0.5"])
    def test_so_do_those_of_keep_up(self, written: str) -> None:
        assert values(f"keep-up: {written}") == {"keep-up": written}

    @pytest.mark.parametrize("written", ["queue: [orders, mails]", "queue:\n- orders\n- mails"])
    def test_a_list_has_its_parts_separated_by_commas(self, written: str) -> None:
        assert values(written) == {"queue": "orders,mails"}

    def test_json_is_yaml_too(self) -> None:
        (entry,) = read('{"services": {"shop/worker": {"max": 6, "mode": true}}}').entries
        assert {name: given.value for name, given in entry.values.items()} == {
            "max": "6",
            "mode": "true",
        }

    def test_no_services_is_a_right_file(self) -> None:
        assert read("services: {}\n") == ServicesFile()

    def test_a_service_without_values_is_right_too(self) -> None:
        assert read("services: {shop/worker: {}}").problems == ()

    def test_a_byte_order_mark_is_no_part_of_the_text(self) -> None:
        assert read(GOOD.encode("utf-8-sig")) == read(GOOD)

    def test_bounds_that_only_other_sources_make_right_are_right_here(self) -> None:
        """A label may have a larger max than the default."""
        assert values("min: 20") == {"min": "20"}


class TestNames:
    @pytest.mark.parametrize(
        ("name", "service", "matched"),
        [
            ("shop/worker", "shop/worker", True),
            ("shop/worker", "shop/worker2", False),
            ("shop/*", "shop/worker", True),
            ("shop/*", "shopping/worker", False),
            ("*/worker", "shop/worker", True),
            ("shop_?orker", "shop_worker", True),
            ("shop_[vw]orker", "shop_worker", True),
            ("SHOP/*", "shop/worker", False),
        ],
    )
    def test_they_are_exact_or_patterns(self, name: str, service: str, *, matched: bool) -> None:
        assert Entry(name, 1).matches(service) is matched

    def test_one_of_digits_needs_no_quotes(self) -> None:
        assert [entry.name for entry in read("services: {123: {}}").entries] == ["123"]


class TestWrong:
    def test_all_that_is_wrong_is_named_at_once_with_its_line(self) -> None:
        found = problems(
            "services:\n"
            "  shop/worker:\n"
            "    max: many\n"
            "    tarqet: 3\n"
            "  shop/mailer:\n"
            "    queue:\n"
            "servises: {}\n"
        )
        first, *others = found
        assert first.startswith("shop.yaml:7: servises is not known here, the nearest is services")
        assert others == [
            ("shop.yaml:3: max='many' must be a whole number from 1 to 10000, not below min"),
            "shop.yaml:4: tarqet='3' is not a label, the nearest is target",
            "shop.yaml:6: queue has no value; give it one, or remove it",
        ]

    def test_a_name_with_the_prefix_is_near_the_name_without(self) -> None:
        (problem,) = problems("services: {shop/worker: {temporal.scale-in.window: 5m}}")
        assert problem.endswith("is not a label, the nearest is scale-in.window")

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("", 1, "it is empty; write `services: {}`"),
            ("# nothing\n", 1, "it is empty"),
            ("- shop/worker\n", 1, "the file must be a mapping"),
            ("orders", 1, "the file must be a mapping"),
            ("shop/worker: {max: 4}", 1, "not known here, the nearest is services|services:"),
            ("services:\n", 1, "services must be a mapping; write {}"),
            ("services: [shop/worker]", 1, "services must be a mapping"),
            ("services:\n  shop/worker:\n", 2, "shop/worker must be a mapping; give it values"),
            ("services:\n  shop/worker: 4\n", 2, "shop/worker must be a mapping"),
            ("services:\n  shop/worker:\n    max: {a: 1}\n", 3, "max needs a single value"),
            ("services:\n  shop/worker:\n    max: [[1]]\n", 3, "max needs a single value"),
            ("services:\n  shop/worker:\n    max: !x 4\n", 3, "max has the tag !x"),
            ("services:\n  shop/worker:\n    max: ~\n", 3, "max has no value"),
            ("services:\n  ? [a]\n  : {max: 4}\n", 2, "a name is needed in services"),
            ("services:\n  '': {max: 4}\n", 2, "a name is needed in services"),
            ("services:\n\tshop/worker: {max: 4}\n", 2, "not with tabs"),
            ("services: {\n", 2, "it is not YAML"),
            ("services:\n  a: {}\n---\nservices: {}\n", 3, "a single document"),
            ("services:\n  a: &a {max: 4}\n  b: *a\n", 3, "aliases such as"),
            ("[" * 100_000, 1, "nested too deeply"),
            ("services:\n  a: {max: 4\0}\n", 2, "control characters"),
            ("services:\n  a:\n    <<: {max: 4}\n", 3, "<< needs a single value"),
            ("services: !!python/object/apply:os.system ['true']", 1, "services must be a mapping"),
        ],
    )
    def test_it_is_said_in_one_line(self, text: str, line: int, words: str) -> None:
        found = problems(text)
        assert found
        assert all(problem.startswith("shop.yaml:") for problem in found)
        assert all(problem.isprintable() for problem in found)
        assert any(
            f":{line}: " in each and any(w in each for w in words.split("|")) for each in found
        )

    def test_what_is_no_utf_8_text_says_where(self) -> None:
        (problem,) = problems(b"services:\n  caf" + b"\xe9: {max: 4}\n")
        assert problem == "shop.yaml:2: it is not UTF-8 text; save it as UTF-8"

    @pytest.mark.parametrize(
        ("text", "line", "first"),
        [
            ("services:\n  a: {max: 4}\n  b: {}\n  a: {min: 1}\n", 4, 2),
            ("services:\n  a:\n    max: 4\n    min: 1\n    max: 5\n", 5, 3),
            ("services: {}\n\nservices: {}\n", 3, 1),
        ],
    )
    def test_what_stands_twice_names_both_lines(self, text: str, line: int, first: int) -> None:
        (problem,) = problems(text)
        assert problem.startswith(f"shop.yaml:{line}: ")
        assert f"stands in line {first} already; keep one" in problem

    def test_a_long_value_is_shortened(self) -> None:
        (problem,) = problems(f"services: {{a: {{max: {'9' * 100_000}}}}}")
        assert len(problem) < 250

    def test_of_very_many_problems_the_first_are_named(self) -> None:
        lines = "".join(f"    wrong{number}: 1\n" for number in range(5000))
        found = problems(f"services:\n  a:\n{lines}")
        assert len(found) == MOST_PROBLEMS + 1
        assert found[-1] == "shop.yaml: there is more; correct these first"

    def test_the_deepest_right_file_is_not_too_deep(self) -> None:
        assert DEEPEST >= 4
        assert problems("services: {a: {queue: [orders]}}") == ()


class TestNamesOfAWrongFile:
    """Whoever keeps the replicas of the services that a wrong file names has to know them."""

    @pytest.mark.parametrize(
        "text",
        [
            GOOD.replace("40", "many"),
            GOOD.replace("40", "[40"),
            GOOD + "\tx: 1\n",
            GOOD + "  x: *y\n",
            GOOD.encode() + b"\xff",
        ],
    )
    def test_they_are_known_although_it_cannot_be_followed(self, text: str | bytes) -> None:
        found = read(text)
        assert found.problems
        assert found.names("shop/worker")
        assert found.names("shop/mailer")
        assert not found.names("other/worker")
