"""What a newcomer reads first is complete: contents, decisions, the picture of the house."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.test_docs import PAGES, ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")
MOST_LINES_OF_README = 190
"""README had 378 lines once, and nobody read them."""


def linked(page: Path) -> list[str]:
    """Return the files that a page links to, without anchors, relative to the project."""
    targets = (target.partition("#")[0] for target in LINK.findall(page.read_text()))
    return [str((page.parent / target).resolve().relative_to(ROOT)) for target in targets if target]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as forges make them."""
    without_code = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    headings = re.findall(r"(?m)^#+ (.+)$", without_code)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_anchor_of_a_link_is_a_heading(page: Path) -> None:
    wrong = []
    for target in LINK.findall(page.read_text()):
        file, _, anchor = target.partition("#")
        other = (page.parent / file) if file else page
        if anchor and anchor not in anchors(other):
            wrong.append(target)
    assert wrong == []


def test_the_contents_name_every_page_once() -> None:
    pages = {str(page.relative_to(ROOT)) for page in DOCS.glob("*.md")} - {"docs/README.md"}
    pages |= {"docs/decisions/README.md"}
    pages |= {str(page.relative_to(ROOT)) for page in (ROOT / "compose").glob("*/README.md")}
    named = Counter(linked(DOCS / "README.md"))

    assert {page: named[page] for page in sorted(pages)} == dict.fromkeys(sorted(pages), 1)


def test_the_index_of_decisions_names_each_with_its_title() -> None:
    index = (DOCS / "decisions/README.md").read_text()
    decisions = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    rows = []
    for file in decisions:
        title = re.match(r"# (\d+)\. (.+)", file.read_text())
        assert title, f"{file.name} begins with its number and title"
        assert int(title[1]) == int(file.name[:3])
        rows.append(f"| {title[1]} | [{title[2]}]({file.name})")

    indexed = re.findall(r"(?m)^(\| \d+ \| \[.+?\]\(.+?\))", index)
    assert indexed == rows


def test_an_index_says_which_decisions_were_replaced() -> None:
    index = (DOCS / "decisions/README.md").read_text()
    for file in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        (row,) = re.findall(rf"(?m)^\|.*\({re.escape(file.name)}\).*$", index)
        assert ("Superseded" in file.read_text()) == ("replaced by" in row), row


def test_the_picture_of_the_house_has_the_floors_that_import_linter_holds() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (floors,) = [each["layers"] for each in contracts if each["type"] == "layers"]
    page = (DOCS / "house.md").read_text()
    picture = re.findall(r"(?ms)^```text\n(.*?)^```", page)[0]

    assert picture.splitlines() == floors
    for room in re.findall(r"\w+", " ".join(floors)):
        assert room == "__main__" or f"`{room}`" in page, f"docs/house.md says nothing of {room}"


def test_every_room_of_the_picture_is_there() -> None:
    page = (DOCS / "house.md").read_text()
    for room in re.findall(r"\w+", re.findall(r"(?ms)^```text\n(.*?)^```", page)[0]):
        folder, file = ROOT / "autoscaler" / room, ROOT / f"autoscaler/{room}.py"
        assert folder.is_dir() or file.is_file(), room


def test_readme_stays_short() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES_OF_README


def test_readme_leads_to_all_other_pages() -> None:
    assert {"docs/README.md", "docs/how-do-i.md", "CONTRIBUTING.md", "SECURITY.md"} <= {
        *linked(README)
    }


def test_each_question_has_a_short_answer_with_a_link_or_a_command() -> None:
    page = (DOCS / "how-do-i.md").read_text()
    answers = re.findall(r"(?ms)^### (.+?)\n(.*?)(?=^##|\Z)", page)
    assert len(answers) >= 20, "fewer would not be worth a page"
    for question, answer in answers:
        assert question.startswith("... "), question
        assert question.endswith("?"), question
        assert "](" in answer or "`" in answer, question
