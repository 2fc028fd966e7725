"""The text of a recipe, key by key, changed and joined with the recipe it extends; its comments stay.

PyYAML's marks say at which lines a key and its value stand. Lines that do not change are copied as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INDENT = "  "


@dataclass(slots=True)
class Entry:
    """A key with its value: its own lines, and the blank lines and comments `above` them.

    `entries` are the keys of a section that is written as a block, and None for any other value.
    """

    key: str
    above: list[str]
    lines: list[str]
    entries: list[Entry] | None = None


@dataclass(slots=True)
class RecipeText:
    """A recipe's opening comment (`head`), its keys, and the comments below the last one (`tail`)."""

    head: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([*self.head, *_lines(self.entries), *self.tail, ""])


def read(text: str) -> RecipeText:
    """Return the text of a valid recipe, taken apart."""
    lines = text.splitlines()
    head = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    node = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return RecipeText(lines)
    stop = _end(lines, head, len(lines))
    tail = lines[stop:] if any(line.strip() for line in lines[stop:]) else []
    return RecipeText(lines[:head], _entries(node, lines, head, stop), tail)


def extended(base: RecipeText, text: RecipeText) -> RecipeText:
    """Return the text with `base`, the recipe that it extends, written into it, and without `extends:`."""
    changes = [entry for entry in text.entries if entry.key != "extends"]
    return RecipeText(text.head, _joined(base.entries, changes), text.tail)


def put(entries: list[Entry], path: Sequence[str], data: Mapping[str, Any], indent: str = "") -> None:
    """Write the value that `data` holds at a path of keys into the entries.

    A key that has no value there is removed, and its comment stays. New keys are put in the order of `data`,
    with the indentation of the keys beside them; `indent` is that of the first one.
    """
    key, *rest = path
    indent = _indentation(entries, indent)
    entry = _slot(entries, key, data)
    value = data.get(key)
    if rest and isinstance(value, dict) and (entry.entries is not None or not entry.lines):
        entry.lines, entry.entries = entry.lines or [f"{indent}{key}:"], entry.entries or []
        put(entry.entries, rest, value, indent + _INDENT)
    elif rest and isinstance(value, dict) and isinstance(flow := _flow(entry), dict):
        _set(flow, rest, value)
        text = yaml.safe_dump(flow, default_flow_style=True, allow_unicode=True, sort_keys=False, width=2**16)
        entry.lines = [f"{indent}{key}: {text.strip()}{_remark(entry)}"]
    else:
        remark = _remark(entry)
        entry.lines, entry.entries = _written(key, value, indent), None
        if len(entry.lines) == 1:
            entry.lines[0] += remark


def keep(entries: list[Entry], section: str, keys: Sequence[str]) -> None:
    """Remove all keys of a section but these."""
    for entry in entries:
        if entry.key == section and entry.entries is not None:
            entry.entries = [inner for inner in entry.entries if inner.key in keys]


def _flow(entry: Entry) -> Any:
    """Return the value of a section that is written in braces."""
    return yaml.safe_load("\n".join(entry.lines))[entry.key] if entry.lines else None


def _set(section: dict[str, Any], path: Sequence[str], data: Mapping[str, Any]) -> None:
    """Set the value that `data` holds at a path of keys; a key that has none there is removed."""
    key, *rest = path
    value = data.get(key)
    if rest and isinstance(value, dict):
        _set(section.setdefault(key, {}), rest, value)
    elif value is None:
        section.pop(key, None)
    else:
        section[key] = value


def _remark(entry: Entry) -> str:
    """Return the comment behind a value of one line, with the spaces before it."""
    if len(entry.lines) != 1 or entry.entries is not None:
        return ""
    line = entry.lines[0].strip()
    node = yaml.compose(line, yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return ""
    rest = line[node.value[0][1].end_mark.column :]
    return rest if rest.lstrip().startswith("#") else ""


def _slot(entries: list[Entry], key: str, data: Mapping[str, Any]) -> Entry:
    """Return the entry of a key; a new one is put in order, or where a removed one left its comment."""
    for entry in entries:
        if entry.key == key:
            return entry
    order = list(data)
    before = set(order[: order.index(key)]) if key in order else set(order)
    place = max((i + 1 for i, entry in enumerate(entries) if entry.key in before), default=0)
    if place < len(entries) and not entries[place].lines:
        entries[place].key = key
        return entries[place]
    entries.insert(place, Entry(key, [], []))
    return entries[place]


def _indentation(entries: Sequence[Entry], default: str) -> str:
    """Return the spaces before the keys of a section; `default` if it has none yet."""
    first = next((entry.lines[0] for entry in entries if entry.lines), None)
    return default if first is None else first[: len(first) - len(first.lstrip())]


def _written(key: str, value: Any, indent: str) -> list[str]:
    if value is None:
        return []
    text = yaml.safe_dump({key: value}, allow_unicode=True, sort_keys=False, width=2**16)
    return [f"{indent}{line}" for line in text.splitlines()]


def _entries(node: yaml.MappingNode, lines: list[str], start: int, stop: int) -> list[Entry]:
    begins = [key.start_mark.line for key, _ in node.value]
    found = []
    for (key, value), begin, end in zip(node.value, begins, [*begins[1:], stop], strict=True):
        above, start = lines[start:begin], _end(lines, begin, end)
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            inner = _entries(value, lines, begin + 1, start)
            found.append(Entry(key.value, above, [lines[begin]], inner))
        else:
            found.append(Entry(key.value, above, lines[begin:start]))
    return found


def _end(lines: list[str], begin: int, end: int) -> int:
    """Return the line after a value: blank lines and comments below it belong to the next key."""
    while end > begin + 1 and _is_remark(lines[end - 1]):
        end -= 1
    return end


def _is_remark(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _joined(base: Sequence[Entry], changes: Sequence[Entry]) -> list[Entry]:
    by_key = {entry.key: entry for entry in changes}
    kept = [_over(entry, by_key.pop(entry.key, None)) for entry in base]
    return [*kept, *by_key.values()]


def _over(old: Entry, new: Entry | None) -> Entry:
    """Return one entry over another as `extends` joins them: key by key, unless the section changes kind."""
    if new is None:
        return old
    comments = [line for line in new.above if line.strip()] or [line for line in old.above if line.strip()]
    above = [*(line for line in old.above if not line.strip()), *comments]
    if old.entries is None or new.entries is None or _kind(new) not in (None, _kind(old)):
        return Entry(new.key, above, new.lines, new.entries)
    return Entry(new.key, above, new.lines, _joined(old.entries, new.entries))


def _kind(section: Entry) -> str | None:
    return next((entry.lines[0].strip() for entry in section.entries or () if entry.key == "kind"), None)


def _lines(entries: Sequence[Entry]) -> list[str]:
    return [line for entry in entries for line in (*entry.above, *entry.lines, *_lines(entry.entries or ()))]
