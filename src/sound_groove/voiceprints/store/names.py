"""What may be a speaker's name: text that people can see, and can tell from another name."""

import unicodedata
from bisect import bisect_right

from sound_groove.errors import UsageError, printable

LONGEST_NAME = 200  # characters

# Characters that are there and not seen: Unicode's Default_Ignorable_Code_Point (Unicode 16, DerivedCoreProperties.txt)
# without those that Python calls not printable anyway, and the blank pattern of Braille.
_INVISIBLE = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # fillers of Hangul
    (0x17B4, 0x17B5),  # vowels of Khmer that are not written
    (0x180B, 0x180F),  # selectors of Mongolian
    (0x2800, 0x2800),  # a pattern of Braille without dots
    (0x3164, 0x3164),  # filler of Hangul
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # filler of Hangul, half width
    (0xE0100, 0xE01EF),  # more variation selectors
)
_FIRST = [first for first, _ in _INVISIBLE]


def checked_name(name: str) -> str:
    """A speaker's name in Unicode's form NFC, when it may be one.

    A name is any printable text of up to 200 characters: it is never a path, a pattern or part of a statement. What the
    eye cannot see (control and formatting characters, fillers, variation selectors, the blank of Braille) is refused,
    since two names could then look alike.

    Raises:
        UsageError: it may not be a name.

    >>> checked_name("Zoë/2 'Kim'")
    "Zoë/2 'Kim'"
    """
    shown = printable(name if len(name) <= 40 else name[:40] + "…")
    # File systems and people write one letter in several ways.
    name = unicodedata.normalize("NFC", name)
    if not name or name != name.strip():
        raise UsageError(f"a speaker's name must have characters and no space at its ends; '{shown}' was given")
    if len(name) > LONGEST_NAME:
        raise UsageError(f"a speaker's name may have {LONGEST_NAME} characters; '{shown}' has {len(name):,}")
    if not name.isprintable():
        raise UsageError(f"a speaker's name must have visible characters only; '{shown}' was given")
    if (unseen := next(filter(is_invisible, name), None)) is not None:
        raise UsageError(f"a speaker's name must have visible characters only; U+{ord(unseen):04X} in it is not seen")
    if name in (".", ".."):  # no address of the service could hold it
        raise UsageError(f"a speaker cannot be called '{shown}'")
    return name


def is_invisible(character: str) -> bool:
    """Whether a printable character leaves nothing to see.

    >>> is_invisible("\N{HANGUL FILLER}"), is_invisible("\N{BRAILLE PATTERN BLANK}"), is_invisible("ㄱ")
    (True, True, False)
    """
    place = bisect_right(_FIRST, ord(character)) - 1
    return place >= 0 and ord(character) <= _INVISIBLE[place][1]
