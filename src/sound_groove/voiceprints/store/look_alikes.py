"""Names that look like each other though they are written with other characters: Unicode's confusables (UTS 39).

Two names look alike if their skeletons are the same. The table of confusables is that of the package
confusable-homoglyphs, which is read when the first skeleton is asked for.
"""

import unicodedata
from collections.abc import Mapping
from functools import cache

MARKS = "\u200e"  # left-to-right marks, which the package has around texts that are written from right to left


@cache
def table_version() -> tuple[int, ...]:
    """The version of the table, by which a store knows whether its skeletons are of this one."""
    from importlib.metadata import version

    return tuple(int(part) for part in version("confusable-homoglyphs").split(".") if part.isdigit())


def skeleton(name: str) -> str:
    """What a name looks like: the same for two names if and only if they are confusable (UTS 39, section 4).

    Characters that are there and not seen are not looked for: no name has them (`names.checked_name`).

    >>> skeleton("Аnnа") == skeleton("Anna"), skeleton("Bam") == skeleton("Barn"), skeleton("Anne") == skeleton("Anna")
    (True, True, False)
    """
    prototypes = _prototypes()
    mapped = "".join(prototypes.get(character, character) for character in unicodedata.normalize("NFD", name))
    return unicodedata.normalize("NFD", mapped)


@cache
def _prototypes() -> Mapping[str, str]:
    """What each confusable character is mapped to.

    The package tells which texts are confusable with which, in both directions. Unicode maps each character to one
    text, so the texts of a class are those that can be reached from each other; any of them may stand for the class,
    but one of several characters must, since names are mapped character by character.
    """
    from confusable_homoglyphs.confusables import confusables_data

    near: dict[str, set[str]] = {}
    for text, others in confusables_data.items():
        near.setdefault(text.strip(MARKS), set()).update(other["c"].strip(MARKS) for other in others)
    found: dict[str, str] = {}
    seen: set[str] = set()
    for text in near:
        if text in seen:
            continue
        members, waiting = {text}, [text]
        while waiting:
            new = near.get(waiting.pop(), set()) - members
            members |= new
            waiting += new
        seen |= members
        chosen = min(members, key=lambda member: (-len(member), member))
        found.update({member: chosen for member in members if len(member) == 1})
    # What stands for a class may have characters of other classes.
    return {
        character: "".join(found.get(part, part) if len(text) > 1 else part for part in text)
        for character, text in found.items()
    }
