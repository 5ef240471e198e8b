"""Settings as people write them: YAML without its traps, `key=value` words, and complaints as sentences.

Nothing here knows which settings there are; that is the schema's, in `configuration`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from sound_groove.errors import nearest, printable

# pydantic's kinds of complaint whose own words speak of strings, parsing and classes.
PLAIN_WORDS = {
    "missing": "is required",
    "string_pattern_mismatch": "must begin with a letter or a digit and hold only those, '.', '_' and '-'",
    "string_type": "must be text",
    "path_type": "must be a path",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
}

MOST_CHARACTERS = 1_000_000  # of a text
MOST_VALUES = 20_000  # in it, with every alias (`*name`) counted as what it stands for
MOST_DEPTH = 50  # of lists and sections in each other

UNICODE_LINE_ENDS = set("\x85\u2028\u2029")


class _Loader(yaml.SafeLoader):
    """Builds plain values only, and remembers keys that were given twice, of which YAML would keep the last."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        line = node.start_mark.line + 1
        self.repeated += [
            f"'{printable(str(key)[:80])}' is given twice in the section that begins on line {line}"
            for key in dict.fromkeys(keys)
            if keys.count(key) > 1
        ]
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back as it was."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # PyYAML's single quotes keep these line ends of Unicode as they are, and reading folds them into spaces.
        style = '"' if UNICODE_LINE_ENDS & set(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


for _yaml in (_Loader, _Dumper):
    # YAML 1.1, which PyYAML speaks, takes 5e-4 for a string because it has no dot; YAML 1.2 and everybody else do not.
    _yaml.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def read_yaml(text: str, problems: list[str]) -> object:
    """The content of a YAML text; what is wrong with it is added to the problems, as clauses.

    Returns:
        Plain values, lists and dictionaries; None when the text is empty or cannot be read.
    """
    try:
        if len(text) > MOST_CHARACTERS:
            problems.append(f"has {len(text):,} characters; settings have {MOST_CHARACTERS:,} at most")
            return None
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None and (excess := _excess(node)) is not None:
            problems.append(excess)
            return None
        content: object = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        problems.append(f"is not valid YAML: {printable(str(error.problem)[:200])}{where}")
        return None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError for a date such as 2024-13-01
        problems.append(f"is not valid YAML: {printable(' '.join(str(error).split())[:200])}")
        return None
    except RecursionError:
        problems.append("is not valid YAML: it is nested too deeply")
        return None
    problems += loader.repeated
    return content


def _excess(root: yaml.Node) -> str | None:
    """What of a text is more than settings have, as a clause, found without building any of it.

    An alias costs a few letters and stands for all that it names, so that a few lines can stand for a billion values.
    """
    counts: dict[int, int] = {}  # of the values in each node
    open_nodes: set[int] = set()

    def count(node: yaml.Node, depth: int) -> int:
        if id(node) in open_nodes:
            raise _Excess("has an alias within the list or section that it names")
        if depth > MOST_DEPTH:
            raise _Excess(f"has lists or sections within each other, more than {MOST_DEPTH} deep")
        if id(node) not in counts:
            open_nodes.add(id(node))
            inner: list[yaml.Node] = []
            if isinstance(node, yaml.SequenceNode):
                inner = node.value
            elif isinstance(node, yaml.MappingNode):
                inner = [part for pair in node.value for part in pair]
            counts[id(node)] = 1 + sum(count(part, depth + 1) for part in inner)
            open_nodes.remove(id(node))
        if counts[id(node)] > MOST_VALUES:
            raise _Excess(f"stands for more than {MOST_VALUES:,} values, its aliases written out")
        return counts[id(node)]

    try:
        count(root, 0)
    except _Excess as excess:
        return str(excess)
    return None


class _Excess(Exception):
    """More than settings have."""


def quoted(value: object, most: int = 80) -> str:
    """A value as Python writes it, in at most so many characters.

    >>> quoted([1, 2]), quoted("a" * 200, 10)
    ('[1, 2]', "'aaaaaaaa…")
    """
    # repr of a long list would be made whole first; what can be long is cut before.
    shortened = value[:most] if isinstance(value, str | list | tuple) else value
    if isinstance(value, Mapping):
        shortened = dict(list(value.items())[:most])
    text = repr(shortened)
    return text if len(text) <= most and shortened == value else text[: most - 1] + "…"


def write_yaml(content: dict[str, Any]) -> str:
    """Settings as YAML text, in their order; `read_yaml` gives them back."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def apply_override(content: dict[str, Any], word: str) -> Iterator[str]:
    """Apply one `key=value` word to nested settings; yields what is wrong with it, in which case nothing is changed.

    >>> settings = {"training": {"epochs": 60}}
    >>> list(apply_override(settings, "training.epochs=3")), settings
    ([], {'training': {'epochs': 3}})
    """
    key, equals, value = word.partition("=")
    if not equals or not key.strip():
        yield f"'{word}' is not of the form key=value, such as training.epochs=3"
        return
    wrong: list[str] = []
    parsed = read_yaml(value, wrong)
    if wrong:
        yield from (f"the value in '{word}' {problem}" for problem in wrong)
        return
    *parents, last = key.strip().split(".")
    section = content
    for parent in parents:
        inner = section.get(parent)
        if inner is not None and not isinstance(inner, dict):
            yield f"'{word}' sets a part of '{parent}', which the recipe gives as {quoted(inner)}"
            return
        section[parent] = dict(inner or {})  # a copy: an alias in the file (`*name`) may stand for it elsewhere
        section = section[parent]
    section[last] = parsed


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with some of them changed; both are left as they were.

    >>> merged({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 4}})
    {'a': 1, 'b': {'c': 2, 'd': 4}}
    """
    result = dict(settings)
    for name, value in changes.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[name] = merged(before, value)
        else:
            result[name] = value
    return result


def leaves(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The full names of the settings that are given.

    >>> leaves({"a": 1, "b": {"c": 2, "d": [3]}})
    ['a', 'b.c', 'b.d']
    """
    names = []
    for name, value in settings.items():
        names += leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return names


def sentence(problem: dict[str, Any], root: type[BaseModel]) -> str:
    """One of pydantic's complaints as a sentence: which key, what was expected, what was given.

    Args:
        problem: one of `ValidationError.errors()`.
        root: the schema that was not met.
    """
    given, kind = problem["input"], problem["type"]
    location = [str(part) for part in problem["loc"]]
    shown = "" if isinstance(given, dict | BaseModel) else f", given {quoted(given)}"
    if kind == "tuple_type" and _is_list(location, root):
        message = "must be a list"
    elif kind in ("tuple_type", "too_long") or (kind == "missing" and isinstance(problem["loc"][-1], int)):
        location, message = [part for part in location if not part.isdigit()], "must be two numbers, [low, high]"
    elif kind == "extra_forbidden":
        message, shown = f"there is no such setting; {_nearest_setting(location, root)}", ""
    elif kind == "literal_error" and isinstance(given, str):
        message, shown = f"there is no '{printable(given[:80])}'; {nearest(given, _choices(location, root))}", ""
    elif kind == "model_type":
        message = f"is a section with settings of its own ({', '.join(_section(location, root).model_fields)})"
    else:
        message = PLAIN_WORDS.get(kind, str(problem["msg"]).removeprefix("Value error, "))
        message = message.replace("Input should be", "must be")
    return f"{printable('.'.join(location)[:200])}: {message}{shown}"


def _section(location: Sequence[str], root: type[BaseModel]) -> type[BaseModel]:
    """The section that keys lead to; the last one on the way where they lead further or elsewhere."""
    section = root
    for name in location:
        if name.isdigit():  # of a list of sections, which has been entered already
            continue
        field = section.model_fields.get(name)
        annotation = None if field is None else field.annotation
        inner = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        inner = [kind for kind in inner if issubclass(kind, BaseModel)]
        if not inner:
            break
        section = inner[0]
    return section


def _is_list(location: Sequence[str], root: type[BaseModel]) -> bool:
    """Whether a setting takes any number of values."""
    return Ellipsis in get_args(_section(location[:-1], root).model_fields[location[-1]].annotation)


def _choices(location: Sequence[str], root: type[BaseModel]) -> list[str]:
    """The words that a setting may be."""
    return [str(choice) for choice in get_args(_section(location, root).model_fields[location[-1]].annotation)]


def _nearest_setting(location: Sequence[str], root: type[BaseModel]) -> str:
    """A hint at the setting that was meant: in the same section, else of the same name in another."""
    given, hint = location[-1], nearest(location[-1], [*_section(location[:-1], root).model_fields])
    elsewhere = [name for name in _names(root) if name.split(".")[-1] == given]
    return f"did you mean '{elsewhere[0]}'?" if elsewhere and not hint.startswith("did you") else hint


def _names(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The full names of all settings in a section."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _names(field.annotation, f"{prefix}{name}.")
