"""A Gradio app that compares two clips: a Space for Hugging Face, and a page of one's own on any machine."""

import gradio as gr

from sound_groove import Comparison, SpeakerEncoder, compare
from sound_groove.errors import SoundGrooveError
from sound_groove.percentages import probability_text
from sound_groove.scoring.strength import NOT_DETECTED, evidence_text

VERDICTS = {
    "same": "Probably the same speaker",
    "different": "Probably different speakers",
    "inconclusive": "Inconclusive",
}
ENCODER = SpeakerEncoder.load("pretrained")


def told(answer: Comparison) -> str:
    """An answer as Markdown."""
    verdict = "No verdict" if answer.verdict is None else VERDICTS[answer.verdict]
    lines = [f"## {verdict}"]
    if answer.probability is not None and answer.llr is not None:
        lines.append(
            f"Evidence: {evidence_text(answer.llr)} (log-likelihood ratio {answer.llr:.2f}). Probability of the same "
            f"speaker {probability_text(answer.probability)}, where both answers were equally likely before."
        )
    lines += [f"- {warning.message}" for warning in answer.warnings]
    lines.append(f"_Evidence, not proof: {NOT_DETECTED}. Model {answer.model.name} ({answer.model.hash[:12]})._")
    return "\n\n".join(lines)


def answer(first: str | None, second: str | None) -> str:
    """What is shown for two files."""
    if not first or not second:
        return "Give two clips: record them, or choose files."
    try:
        return told(compare(first, second, ENCODER))
    except SoundGrooveError as error:
        return f"**{error}**"


def build() -> gr.Interface:
    """The app."""
    return gr.Interface(
        answer,
        [gr.Audio(type="filepath", label="Clip A"), gr.Audio(type="filepath", label="Clip B")],
        gr.Markdown(label="Answer"),
        title="Is it the same voice?",
        description="Two clips with 2 seconds of speech or more each; 10 are better. One voice alone, no music.",
        submit_btn="Compare",
        flagging_mode="never",
    )


if __name__ == "__main__":
    build().launch()
