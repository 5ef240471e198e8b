"""Shows the examples of docstrings (`>>> ...`) as code in the reference; to Markdown they would be quotations."""

import re
from typing import Any

from griffe import Extension, Object

# From the prompt to the next empty line: what is typed and what is printed.
EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)


def fenced(text: str) -> str:
    """A docstring, its examples in fences.

    >>> fenced("Twice.\\n\\n>>> 2 * 2\\n4").splitlines()
    ['Twice.', '', '```pycon', '>>> 2 * 2', '4', '```']
    """
    return EXAMPLE.sub(lambda found: "{0}```pycon\n{1}\n{0}```".format(found["indent"], found[0]), text)


class DocstringExamples(Extension):
    """Of griffe, which reads the package without importing it."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)
