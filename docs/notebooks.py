"""Runs the notebooks of the documentation, keeps what they print, and shows them as pages.

    python docs/notebooks.py docs/tutorials/hear-two-clips.ipynb ...

runs each in an empty folder and writes its outputs into the file. A notebook here is read from top to bottom in one
Python process: no kernel is started and nothing of Jupyter is needed but the class that plays sound.
"""

import ast
import base64
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
COLOURS = 128  # of a picture, so that it stays small
SMALL = "# small: "
PICTURE, PAGE, TEXT = "image/png", "text/html", "text/plain"


def read(path: Path) -> dict[str, Any]:
    """A notebook (nbformat 4)."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def write(path: Path, notebook: dict[str, Any]) -> None:
    """A notebook as Jupyter writes it."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def run(notebook: dict[str, Any], folder: Path, small: bool = False) -> dict[str, Any]:
    """Run all code cells in a folder that is empty but for the example clips, and keep their outputs.

    Args:
        notebook: its outputs are replaced.
        folder: is made the current one for the while.
        small: with the small settings that the notebook names, in lines that begin with `SMALL`.

    Returns:
        The names that the cells have defined.
    """
    (folder / "examples").mkdir(exist_ok=True)
    for clip in EXAMPLES.glob("*.flac"):
        (folder / "examples" / clip.name).write_bytes(clip.read_bytes())
    before, names = Path.cwd(), {"__name__": "notebook"}
    os.chdir(folder)
    sys.path.insert(0, str(folder))  # a notebook can import what lies beside it
    try:
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        for number, cell in enumerate(cells, start=1):
            cell["execution_count"] = number
            source = "".join(cell["source"])
            cell["outputs"] = list(_outputs(source.replace(SMALL, "") if small else source, number, names))
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
    return names


def _outputs(source: str, number: int, names: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a cell prints, the value of its last expression, and the pictures that it has drawn."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, f"cell {number}", "exec"), names)  # noqa: S102 - it is our own notebook
        value = None
        if last is not None and not source.rstrip().endswith(";"):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)  # noqa: S307
        elif last is not None:
            exec(compile(ast.Module([last], []), f"cell {number}", "exec"), names)  # noqa: S102
    if text := printed.getvalue():
        yield {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}
    if value is not None:
        data = {TEXT: [repr(value)]}
        if hasattr(value, "_repr_html_"):
            data = {PAGE: value._repr_html_().strip().splitlines(keepends=True), TEXT: ["<sound>"]}
        yield {"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}
    yield from _pictures()


def _pictures() -> Iterator[dict[str, Any]]:
    """The figures that are open, which are closed then."""
    if "matplotlib.pyplot" not in sys.modules:
        return
    from matplotlib import pyplot
    from PIL import Image

    for number in pyplot.get_fignums():
        drawn, file = io.BytesIO(), io.BytesIO()
        figure = pyplot.figure(number)
        figure.savefig(drawn, format="png", dpi=90, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(figure)
        Image.open(drawn).convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            file, format="PNG", optimize=True
        )
        data = {PICTURE: base64.b64encode(file.getvalue()).decode(), TEXT: ["<figure>"]}
        yield {"data": data, "metadata": {}, "output_type": "display_data"}


def as_page(path: Path, pictures: Path) -> str:
    """A notebook as a page in Markdown.

    Args:
        path: of the notebook.
        pictures: the folder that its pictures are written into, beside the page.
    """
    parts = []
    for cell in read(path)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts.append(_shown(output, pictures, f"{path.stem}-{len(parts)}"))
    return "\n\n".join(parts) + "\n"


def _shown(output: dict[str, Any], pictures: Path, name: str) -> str:
    """An output in Markdown."""
    data = output.get("data", {TEXT: output.get("text", [])})
    if PICTURE in data:
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / f"{name}.png").write_bytes(base64.b64decode(data[PICTURE]))
        return f"![What the cell above draws]({pictures.name}/{name}.png)"
    if PAGE in data:
        page = "".join(line.strip() for line in data[PAGE])
        return f'<div class="output">{page}</div>'
    text = "".join(data[TEXT]).rstrip("\n")
    return f'<div class="output" markdown>\n\n```text\n{text}\n```\n\n</div>'


def main() -> None:
    """Run the notebooks that are named."""
    import matplotlib

    matplotlib.use("agg")
    for name in sys.argv[1:]:
        path = Path(name).resolve()
        notebook = read(path)
        with tempfile.TemporaryDirectory() as folder:
            run(notebook, Path(folder).resolve())
        write(path, notebook)


if __name__ == "__main__":
    main()
