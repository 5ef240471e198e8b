"""A corpus in any of its forms, as recordings with labels; and what was heard of it, kept in a folder.

The folder of an examination holds `embeddings.npz` and `heard.npz` (`curation.heard`), so that another examination of
the same recordings, with another rate, hears nothing again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sound_groove.audio.content import content_of
from sound_groove.audio.fingerprint import fingerprint, landmarks
from sound_groove.audio.listening import HeardRecording
from sound_groove.corpora.choices import absolute, write_choices
from sound_groove.corpora.layouts import Folder, KaldiFolder, ListFile
from sound_groove.corpora.layouts.kaldi import is_kaldi
from sound_groove.corpora.manifest import MANIFEST_NAME, read_manifest
from sound_groove.curation.findings import Examination, Finding, Labelled, proposals
from sound_groove.curation.heard import HeardCorpus, Hearing, read_heard, write_heard
from sound_groove.encoder.bulk import Embed, Files, embed_all
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Seek
from sound_groove.encoder.several_voices import with_voices
from sound_groove.errors import CorpusError, OutputError, printable, require_extra
from sound_groove.files import write_text, writing

EMBEDDINGS_FILE = "embeddings.npz"
HEARD_FILE = "heard.npz"
REPORT_FILE = "report.html"
FINDINGS_FILE = "findings.tsv"
SOUGHT = "landmarks, voices, content"  # beside embeddings; what was heard without is heard again
CLEAN_FILE = "clean.tsv"
CHOICES_FILE = "choices.tsv"
NOISE_FILE = "label_noise.tsv"
HEADER = ("kind", "speaker", "recording", "other", "probability", "detail")


def labelled_recordings(data: Path) -> list[Labelled]:
    """The recordings of a corpus and their labels.

    Args:
        data: what `prepare` wrote, or its manifest; a folder with one folder a speaker; a list, one `path <tab>
            speaker` a line; or a Kaldi data folder. Of utterances that were joined, every file counts by itself.

    Raises:
        CorpusError: it is none of these, or names a file that cannot stand in a list.
    """
    if data.suffix == ".jsonl" or (data / MANIFEST_NAME).is_file():
        found = [
            Labelled(path, utterance.speaker, utterance.session)
            for utterance in read_manifest(data)
            for path in utterance.paths
        ]
    else:
        corpus = KaldiFolder(data) if is_kaldi(data) else Folder(data) if data.is_dir() else ListFile(data)
        listing = corpus.listing()
        if listing.skipped:
            first = listing.skipped[0]
            raise CorpusError(
                f"{len(listing.skipped)} entries of {printable(str(data))} cannot be used, the first is "
                f"{printable(first.path)}, which {first.reason}; mend or remove them"
            )
        found = [Labelled(source.path, source.speaker, source.session) for source in listing.sources]
    if not found:
        raise CorpusError(f"{printable(str(data))}: there are no recordings in it")
    return found


def hear_corpus(
    recordings: Sequence[Labelled],
    out: Path,
    embed: Embed,
    model: str,
    *,
    force: bool = False,
    progress: Callable[[int], object] = lambda count: None,
) -> HeardCorpus:
    """What was heard of every recording; what an earlier run heard is not heard again.

    Args:
        recordings: of the corpus.
        out: the folder of the examination, which is made.
        embed: does the work, as `encoder.bulk.embed_all` takes it.
        model: its hash.
        force: hear everything anew.
        progress: is told how many more recordings are done.

    Raises:
        AudioError: no recording can be used.
        OutputError: the folder cannot be written.
        UsageError: a recording is named twice.
    """
    files = Files(tuple(one.path for one in recordings))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    states = [files.state(path) for path in files.names]
    kept = None
    if not force:
        kept = read_heard(out / HEARD_FILE, out / EMBEDDINGS_FILE, files.names, states, model)
    if kept is not None:
        progress(len(recordings))
        return kept
    hearing = Hearing(len(recordings))
    with suppress(FileNotFoundError):
        (out / EMBEDDINGS_FILE).unlink()  # of other recordings, or of what these were
    embed_all(
        files,
        out / EMBEDDINGS_FILE,
        embed,
        {"model": model, "sought": SOUGHT},
        force=force,
        allow_failures=True,
        progress=progress,
        told=lambda _, outcome: hearing.add(outcome),
    )
    heard = hearing.done()
    write_heard(out / HEARD_FILE, heard, files.names, states, model)
    return heard


def seek_in(encoder: SpeakerEncoder) -> Seek:
    """What is sought in every recording beside its embedding: landmarks, more voices than one, what it holds."""

    def seek(heard: HeardRecording) -> HeardRecording:
        return replace(
            with_voices(heard, encoder),
            landmarks=landmarks(fingerprint(heard.samples)),
            content=content_of(heard.samples, heard.speech),
        )

    return seek


def write_examination(out: Path, recordings: Sequence[Labelled], found: Examination) -> None:
    """Write `findings.tsv`, `choices.tsv`, `clean.tsv` and `label_noise.tsv`, each in one piece.

    Args:
        out: the folder of the examination.
        recordings: of the corpus.
        found: in it.

    Raises:
        OutputError: they cannot be written.
    """
    rows = ["\t".join(HEADER), *("\t".join(_cells(one)) for one in found.findings)]
    write_text(out / FINDINGS_FILE, "".join(f"{row}\n" for row in rows))
    # Lists that lie in another folder than the corpus does: only absolute paths mean the same in both.
    chosen = (replace(one, recording=absolute(one.recording)) for one, _ in proposals(recordings, found))
    write_choices(out / CHOICES_FILE, chosen)
    left = (f"{absolute(path)}\t{speaker}\n" for path, speaker in found.labels.items())
    write_text(out / CLEAN_FILE, "".join(left))
    doubts = (f"{absolute(path)}\t{1 - wrong:.4f}\n" for path, wrong in found.doubts.items())
    write_text(out / NOISE_FILE, "recording\tright\n" + "".join(doubts))


def write_page(
    out: Path, recordings: Sequence[Labelled], found: Examination, data: str, rate: float, with_audio: bool = False
) -> Path:
    """Write `report.html` in one piece; arguments as of `FindingsPage` and its `text`.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        OutputError: it cannot be written.
    """
    require_extra("report.html", "who", "jinja2")
    from sound_groove.curation.page import FindingsPage

    write_text(out / REPORT_FILE, FindingsPage(out, recordings, found, with_audio).text(data, rate))
    return out / REPORT_FILE


def check_out(out: Path, force: bool) -> None:
    """Refuse a folder that holds the answer of an earlier examination.

    Raises:
        OutputError: it does, and nobody asked to replace it.
    """
    if (out / FINDINGS_FILE).exists() and not force:
        raise OutputError(
            f"{printable(str(out))}: holds an examination already; choose another --out, or replace it with --force"
        )


def _cells(one: Finding) -> Iterator[str]:
    probability = "" if one.probability is None else f"{one.probability:.4f}"
    for cell in (one.kind, one.speaker, one.path or "", one.other or "", probability, one.detail):
        yield printable(cell)
