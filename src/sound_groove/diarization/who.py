"""Who spoke when: from a recording of any length to turns with names.

    recording -> speech -> windows -> embeddings        `hearing`, `windows`
              -> speakers                               `clustering`, `spectral`; refined by `vbx`
              -> who in every tenth of a second         `resegmentation`
              -> who speaks at the same time            `segmentation`, `overlap`: where there is such a model
              -> one open-set decision for each speaker `naming`
              -> turns under names                      `answer`

The recording is read for its windows, for the segmentation, and for what each speaker says. Nothing is drawn at random.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from sound_groove.arguments import check_has, check_integer
from sound_groove.audio.given import AnyRecording
from sound_groove.audio.listening import called
from sound_groove.audio.reading import OpenRecording, open_recording
from sound_groove.comparison import DEFAULT_PRIOR, DEFAULT_RULE, check_prior, check_rule
from sound_groove.diarization.agglomeration import Labels
from sound_groove.diarization.answer import Diarization, labelled
from sound_groove.diarization.clustering import SpeakerCount, cluster, fitted
from sound_groove.diarization.hearing import HeardWindows, hear_windows
from sound_groove.diarization.likeness import JOINED_LLR, UNREFINED_LLR, joined_similarity
from sound_groove.diarization.naming import NamedSpeaker, name_speakers, shared_rule, speaker_voices
from sound_groove.diarization.overlap import alone, overlap_s, with_overlap
from sound_groove.diarization.resegmentation import speaker_frames
from sound_groove.diarization.segmentation import LocalActivity, Segmentation
from sound_groove.diarization.spectral import cluster_by_spectrum
from sound_groove.diarization.turns import Spoken
from sound_groove.diarization.vbx import Vbx
from sound_groove.encoder.encoder import SpeakerEncoder, default_model
from sound_groove.errors import AudioError, UsageError, nearest
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.decision import DecisionRule
from sound_groove.types import QualityWarning
from sound_groove.voiceprints.gallery import Gallery
from sound_groove.voiceprints.identification import identify

Method = Literal["vbx", "agglomerative", "spectral"]
METHODS: tuple[Method, ...] = ("vbx", "agglomerative", "spectral")
LONGEST_S = 12 * 3600.0  # of a recording: its embeddings take 50 MB
CANDIDATES = 3  # of those enrolled that are told for each speaker


def who(
    recording: AnyRecording,
    model: str | Path | SpeakerEncoder | None = None,
    gallery: Gallery | None = None,
    *,
    speakers: int | SpeakerCount | None = None,
    method: Method = "vbx",
    prior: float = DEFAULT_PRIOR,
    rule: DecisionRule = DEFAULT_RULE,
    segmentation: Segmentation | None = None,
    channel: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Diarization:
    """Who spoke when in a recording?

    Args:
        recording: as `compare` takes it, of up to LONGEST_S.
        model: a model file, a run folder, or an encoder; None as in `compare`.
        gallery: who is enrolled with this model (`voiceprints.gallery.open_gallery`); None asks for no names.
        speakers: how many people speak: a number, or from how many to how many; None where nothing is known.
        method: how speakers are told apart.
        prior: probability that a speaker is enrolled, before listening, in (0, 1).
        rule: how sure a name must be. `max_false_accept` bounds the share of recordings in which anybody gets a wrong
            name, however many speak in them.
        segmentation: tells who speaks at the same time (`diarization.segmentation`); None tells one at a time.
        channel: which one to listen to, counted from 1; None averages all.
        progress: is told how many seconds more were heard.

    Raises:
        AudioError: the recording cannot be used.
        CheckpointError: the model cannot be used.
        OtherModelError: the gallery is of another model.
        UsageError: there is no such method, or an argument is out of range.

    Example:
        found = who("meeting.wav", speakers=SpeakerCount(2, 6))
        for turn in found.turns:
            print(turn.start_s, turn.end_s, turn.speaker)
    """
    check_prior(prior)
    check_rule(rule)
    if method not in METHODS:
        raise UsageError(f"there is no method '{method}'; {nearest(str(method), METHODS)}")
    if gallery is not None:
        check_has(gallery, "nearest", "the gallery", "what open_gallery gives")
    _allowed(speakers)
    name = "the recording"
    try:
        with open_recording(recording, channel, compared=True, longest_s=LONGEST_S) as opened:
            name = called(recording, opened.path, name)
            encoder = (
                model
                if isinstance(model, SpeakerEncoder)
                else SpeakerEncoder.load(default_model() if model is None else model)
            )
            heard = hear_windows(opened, encoder, progress)
            return answer_of(
                opened,
                name,
                heard,
                encoder,
                gallery,
                speakers=speakers,
                method=method,
                prior=prior,
                rule=rule,
                local=None if segmentation is None else segmentation.hear(opened),
            )
    except AudioError as error:
        raise error.named(name) from error.__cause__


def answer_of(
    recording: OpenRecording,
    name: str,
    heard: HeardWindows,
    encoder: SpeakerEncoder,
    gallery: Gallery | None,
    *,
    speakers: int | SpeakerCount | None = None,
    method: Method = "vbx",
    prior: float = DEFAULT_PRIOR,
    rule: DecisionRule = DEFAULT_RULE,
    local: Sequence[LocalActivity] | None = None,
) -> Diarization:
    """Who spoke when in a recording whose windows were heard; the other arguments and errors are those of `who`.

    Args:
        recording: is read once more where there is a gallery.
        name: what warnings call it.
        heard: by this encoder.
        encoder: the gallery's.
        gallery: as in `who`.
        speakers: as in `who`.
        method: as in `who`.
        prior: as in `who`.
        rule: as in `who`.
        local: what a segmentation model heard; None where there is none.
    """
    allowed = _allowed(speakers)
    spoken = spoken_by(heard, encoder.score_map, allowed, method)
    if local is not None:
        spoken = with_overlap(spoken, local, recording.samples)
    named = None if gallery is None else _named(recording, alone(spoken), heard, gallery, encoder, allowed, prior, rule)
    turns, told = labelled(spoken, named, max((number for _, number in spoken), default=-1) + 1)
    return Diarization(
        turns=turns,
        speakers=told,
        overlap_s=None if local is None else round(overlap_s(spoken), 3),
        enrolled=None if gallery is None else gallery.count(),
        prior=prior,
        audio=heard.facts,
        model=encoder.identity,
        warnings=(*_of_recording(heard, name), *_of_names(named or [])),
    )


def _allowed(speakers: int | SpeakerCount | None) -> SpeakerCount:
    """How many speakers there may be, whichever way it is said."""
    if speakers is None:
        return SpeakerCount()
    if isinstance(speakers, SpeakerCount):
        return speakers
    number = check_integer(speakers, "the number of speakers")
    return SpeakerCount(number, number)


def spoken_by(heard: HeardWindows, score_map: ScoreMap | None, count: SpeakerCount, method: Method) -> list[Spoken]:
    """Stretches of speech and the numbers of their speakers, from what was heard."""
    if not heard.windows:
        return []
    labels = speakers_of(heard, score_map, count, method)
    return speaker_frames(heard.windows, heard.embeddings, labels, heard.speech)


def speakers_of(heard: HeardWindows, score_map: ScoreMap | None, count: SpeakerCount, method: Method) -> Labels:
    """(N,) the speaker of each window.

    Agglomeration needs a calibrated model, which says how alike two windows of one speaker are; without a score map,
    the spectrum tells how many speakers there are.
    """
    if method == "spectral" or score_map is None:
        return cluster_by_spectrum(heard.embeddings, count)
    if method == "agglomerative":
        return cluster(heard.embeddings, joined_similarity(heard, score_map, JOINED_LLR), count)
    many = cluster(heard.embeddings, joined_similarity(heard, score_map, UNREFINED_LLR))
    return fitted(heard.embeddings, Vbx().refine(heard.embeddings, many), count)


def _named(
    recording: OpenRecording,
    spoken: list[Spoken],
    heard: HeardWindows,
    gallery: Gallery,
    encoder: SpeakerEncoder,
    count: SpeakerCount,
    prior: float,
    rule: DecisionRule,
) -> list[NamedSpeaker]:
    """The names of the speakers."""
    voices = speaker_voices(recording, spoken, heard)
    shared = shared_rule(rule, len(voices))
    return name_speakers(
        voices,
        lambda voice: identify(gallery, voice, encoder, top=CANDIDATES, prior=prior, rule=shared),
        count.fewest,
    )


def _of_recording(heard: HeardWindows, name: str) -> list[QualityWarning]:
    """What weakens the answer: what was found in the recording, and that nobody speaks."""
    found = [QualityWarning(warning.code, f"{name}: {warning.message}") for warning in heard.warnings]
    if not heard.windows:
        found.append(QualityWarning("no_speech", f"{name}: no speech was found in it"))
    return found


def _of_names(named: list[NamedSpeaker]) -> list[QualityWarning]:
    """What weakens the names, each kind once."""
    found = {
        warning.code: warning
        for one in reversed(named)
        for warning in reversed(one.answer.warnings)
        if warning.code != "channels_differ"  # which is of the recording, and was said
    }
    return list(found.values())
