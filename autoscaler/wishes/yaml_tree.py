"""YAML that people write: its nodes with their lines, and all that is wrong with them. Pure.

Values stay text as it is written: a label's value is text too, and `mode: off` means the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import yaml

from autoscaler.core.labels import nearest

MOST_PROBLEMS = 20
"""Of each file; the rest is only counted as more."""
DEEPEST = 8
"""How deep a file may nest: services, a name, its values, a list, and some to name what is wrong.

The parser of libyaml follows nesting with its own stack, which an endless `[[[[` would use up.
"""
_LONGEST_SHOWN = 60
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{kind}" for kind in ("str", "int", "float", "bool", "timestamp", "merge")}
_NULL = f"{_TAG}null"

Node = yaml.Node
Key = yaml.ScalarNode


class Broken(Exception):
    """No tree can be made of a file."""

    def __init__(self, line: int, why: str, text: str) -> None:
        """Say in which line, why and what to do, and the text as far as it could be read."""
        super().__init__(why)
        self.line = line
        self.text = text


def parse(content: bytes, form: str) -> Node | None:
    """Return the root of a document, None where it is empty; nothing is made of its values.

    `form` says what such a file should look like. Raises Broken.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        readable = content.decode("utf-8", "replace")
        raise Broken(line, "it is not UTF-8 text; save it as UTF-8", readable) from error
    try:
        return _compose(text, form)
    except yaml.YAMLError as error:
        raise Broken(*_explain(error, text), text) from error


def _compose(text: str, form: str) -> Node | None:
    """Return the root of a document. Raises YAMLError, and Broken for what no such file needs."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise Broken(
                line,
                "aliases such as *name are not allowed; use a pattern for what several services"
                " have in common",
                text,
            )
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise Broken(line, f"it is nested too deeply; {form}", text)
    root: Node | None = yaml.compose(text, Loader=_LOADER)
    return root


def _explain(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Return the line of an error in the YAML, and what is wrong with it."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        words = ", ".join(part for part in (error.context, error.problem) if part)
    else:
        position = getattr(error, "position", 0)
        line = text.encode()[:position].count(b"\n") + 1
        words = getattr(error, "reason", None) or str(error)
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        words += "; indent with spaces, not with tabs"
    return line, f"it is not YAML ({' '.join(words.split())}); correct this line or those before it"


class TreeReader:
    """Reads the tree of one file, and collects all that is wrong with it."""

    def __init__(self, file: str, form: str) -> None:
        """Read a file of this name; `form` says what it should look like."""
        self._file = file
        self._form = form
        self.problems: list[str] = []

    @property
    def crowded(self) -> bool:
        """Whether more is wrong than is said."""
        return len(self.problems) > MOST_PROBLEMS

    def top(
        self, root: Node | None, needed: str, others: Collection[str] = ()
    ) -> Mapping[str, Node]:
        """Return what stands at the top of a file by its names: `needed`, and those of `others`."""
        if root is None:
            self.say(None, f"it is empty; write `{needed}: {{}}` for no {needed}, or delete it")
            return {}
        if not isinstance(root, yaml.MappingNode):
            self.say(root, f"the file must be a mapping; {self._form}")
            return {}
        found: dict[str, Node] = {}
        for key, node in self.pairs(root, "the file", self._form):
            found[key.value] = node
            if key.value not in {needed, *others}:
                self.say(key, self.unknown(key, [needed, *others]))
        if needed not in found:
            self.say(root, f"`{needed}:` is missing; {self._form}")
        return found

    def unknown(self, key: Key, known: Collection[str]) -> str:
        """Return what is wrong with a key that is none of the known ones."""
        return f"{shown(key.value)} is not known here{nearest(key.value, known)}; {self._form}"

    def written(self, key: Key, node: Node) -> str | None:
        """Return a value as text, parts of a list separated by commas; None where it is wrong."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for part in parts:
            if not isinstance(part, yaml.ScalarNode):
                self.say(part, f"{shown(key.value)} needs a single value, or a list of values")
                return None
            if part.tag == _NULL:
                self.say(part, f"{shown(key.value)} has no value; give it one, or remove it")
                return None
            if part.tag not in _PLAIN:
                self.say(part, f"{shown(key.value)} has the tag {shown(part.tag)}; remove that")
                return None
        return ",".join(part.value for part in parts)

    def pairs(self, node: Node, what: str, remedy: str) -> Iterator[tuple[Key, Node]]:
        """Yield the pairs of a mapping; each key is a text that occurs once."""
        if not isinstance(node, yaml.MappingNode):
            self.say(node, f"{what} must be a mapping; {remedy}")
            return
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value or key.tag == _NULL:
                self.say(key, f"a name is needed in {what}, not a list, a mapping or nothing")
            elif key.value in lines:
                self.say(
                    key,
                    f"{shown(key.value)} stands in line {lines[key.value]} already; keep one",
                )
            else:
                lines[key.value] = line_of(key)
                yield key, value

    def say(self, node: Node | None, problem: str) -> None:
        """Add a problem in the line of a node; None: in the first line."""
        self.note(f"{self._file}:{1 if node is None else line_of(node)}", problem)

    def note(self, where: str, problem: str) -> None:
        """Add a problem; `where` is the file with the line, as the origin of a value has it."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(f"{where}: {problem}")
        elif len(self.problems) == MOST_PROBLEMS:
            self.problems.append(f"{self._file}: there is more; correct these first")


def line_of(node: Node) -> int:
    """Return the line in which a node begins, from 1 on."""
    return int(node.start_mark.line) + 1


def shown(text: str) -> str:
    """Return a text as a message may show it: short, and without line breaks."""
    short = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return short if short.isprintable() else repr(short)
