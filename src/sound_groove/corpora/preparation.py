"""Preparation of a corpus: every file checked, short ones joined, speakers split, and the lists written.

The work is journaled and goes on where it was stopped. The lists are written at the end, each in one piece, the
manifest last; they depend on the corpus and the options alone, not on the number of workers or of interruptions.
"""

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from sound_groove.audio.channels import mixed_notes, with_channel
from sound_groove.audio.given import split_name
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.corpora.file_work import (
    CHANGED,
    CopyJob,
    FileJob,
    FileOutcome,
    Job,
    check_file,
    copy_utterance,
    crashed,
)
from sound_groove.corpora.joining import join_neighbours
from sound_groove.corpora.journal import Journal
from sound_groove.corpora.layouts.listing import Corpus, Listing, Skipped, Source, abbreviate
from sound_groove.corpora.manifest import Utterance
from sound_groove.corpora.output_folder import OutputFolder
from sound_groove.corpora.packing import RECORD, Packable, Packer
from sound_groove.corpora.preparation_report import PreparationOptions, Report, SplitCounts
from sound_groove.corpora.splitting import choose_validation_speakers, few_held_out
from sound_groove.corpora.worker_pool import spread
from sound_groove.errors import CorpusError, UsageError, printable, require_extra
from sound_groove.progress import ProgressBar
from sound_groove.provenance import available_cores

UNKNOWN = -1  # a length that was not found out yet; 0 = the file cannot be used


def prepare(
    corpus: Corpus,
    out: str | Path,
    options: PreparationOptions | None = None,
    *,
    workers: int | None = None,
    force: bool = False,
) -> Report:
    """Prepare a corpus for training.

    Leaves in `out`: manifest.jsonl, spk2id.json, val_meta.jsonl, report.json, skipped.tsv; train_fbank_list.txt and
    fbank_pt/ with `features`; wav/ with `wav`; pack/ with `pack`; journal.jsonl, by which a second call goes on where
    the first one stopped.

    Args:
        corpus: what to prepare, such as `Folder(Path("speech"))`.
        out: the folder to write.
        options: how; the defaults when None.
        workers: number of processes; as many as there are cores when None. It changes nothing but the time.
        force: start over, whatever preparation `out` holds.

    Raises:
        CorpusError: the corpus is not laid out as it should be, or too little of it can be used.
        OutputError: `out` holds something else, or lies where the corpus is searched.
        MissingExtraError: features are asked for and torch is not installed.
        UsageError: an option is out of its range.
    """
    options = options or PreparationOptions()
    workers = available_cores() if workers is None else workers
    if workers < 1:
        raise UsageError(f"workers must be at least 1, not {workers}")
    if options.features:
        require_extra("Writing features", "train", "torch")
    listing = corpus.listing()
    if not listing.sources:
        raise CorpusError(_nothing_found(listing, corpus))
    if options.channel is not None:
        listing.sources = [
            source._replace(path=str(with_channel(Path(source.path), options.channel))) for source in listing.sources
        ]
    # Before hours of work: more utterances than these there will not be.
    _choose(Counter(source.speaker for source in listing.sources), listing, options)
    folder = OutputFolder(Path(out), listing, corpus)
    settings = asdict(options)
    if options.channel is None:
        del settings["channel"]  # a preparation that began before there was a choice goes on
    with folder.open_journal({**corpus.identity(), **settings}, force) as journal:
        return _Preparation(listing, options, folder, workers).run(journal)


class _Piece(NamedTuple):
    """An utterance to be: the sources that it consists of, in order, and where it is packed."""

    members: tuple[int, ...]
    samples: int
    shard: str | None = None
    offset: int = 0


class _Preparation:
    """One run. Arrays stand beside `listing.sources`, because there may be 640,000 of them."""

    def __init__(self, listing: Listing, options: PreparationOptions, folder: OutputFolder, workers: int) -> None:
        self.listing = listing
        self.sources = listing.sources
        self.options = options
        self.folder = folder
        self.workers = workers
        self.sizes = array("q")
        self.times = array("q")  # of the last change, in ns
        self.lengths = array("q", [UNKNOWN]) * len(self.sources)
        self.mixed: set[int] = set()  # sources that are averages of different sounds
        self.copied: dict[str, str] = {}  # key -> signature of the files that the copies were made of
        self.packed: dict[int, list[Any]] = {}  # shard -> signature of the files in it, name, and what is not in it

    def run(self, journal: Journal) -> Report:
        """Do what is not done yet, and write the lists."""
        self._look_at_files()
        reasons = self._replay(journal)
        self._check_files(journal, reasons)
        skipped = [*self.listing.skipped, *(Skipped(self.sources[i].path, why, "bad") for i, why in reasons.items())]
        pieces = self._drop_short(self._pieces(), skipped)
        if self.options.features or self.options.wav:
            pieces = self._copy(journal, pieces, skipped)
        if self.options.pack:
            pieces = self._pack(journal, pieces, skipped)
        skipped.sort()
        # First, because it says what went wrong even where the rest fails.
        self.folder.write_skipped(skipped)
        if not pieces:
            raise CorpusError(_nothing_usable(len(self.sources), skipped, self.folder.path))
        counts = Counter(self.sources[piece.members[0]].speaker for piece in pieces)
        held_out = _choose(counts, self.listing, self.options)
        report = self._report(pieces, held_out, counts, skipped)
        self.folder.write_lists(
            sorted(counts.keys() - held_out), lambda: self._utterances(pieces, held_out), report.as_dict()
        )
        self.folder.drop_other_shards({piece.shard for piece in pieces if piece.shard is not None})
        return report

    def _look_at_files(self) -> None:
        for source in self.sources:
            try:
                file = source.path if "#" not in source.path else split_name(source.path)[0]
                status = os.stat(file)  # noqa: PTH116 - 640,000 times
            except OSError:
                self.sizes.append(UNKNOWN)  # the reader will say why
                self.times.append(UNKNOWN)
            else:
                self.sizes.append(status.st_size)
                self.times.append(status.st_mtime_ns)

    def _replay(self, journal: Journal) -> dict[int, str]:
        """Take over what an earlier run found out about files that have not changed since; returns why some are bad."""
        index = {source.path: i for i, source in enumerate(self.sources)}
        reasons: dict[int, str] = {}
        for kind, name, *values in journal.replay():
            if kind == "copied":
                self.copied[name] = values[0]
            elif kind == RECORD:
                self.packed[name] = values
            elif (i := index.get(name)) is not None:
                size, time, self.lengths[i], reason, *mixed = values
                reasons[i] = reason
                self._note_channels(i, any(mixed))
                if (size, time) != (self.sizes[i], self.times[i]) or size == UNKNOWN:
                    self.lengths[i] = UNKNOWN
        return {i: reason for i, reason in reasons.items() if self.lengths[i] == 0}

    def _check_files(self, journal: Journal, reasons: dict[int, str]) -> None:
        waiting = [i for i, length in enumerate(self.lengths) if length == UNKNOWN]
        jobs = (FileJob(i, self.sources[i].path, self.options.quick) for i in waiting)
        verb = "looking at headers" if self.options.quick else "checking files"
        for job, outcome in self._spread(check_file, jobs, len(waiting), len(self.sources), verb):
            i = job.number
            self.lengths[i] = outcome.samples
            self._note_channels(i, outcome.mixed)
            if outcome.reason:
                reasons[i] = outcome.reason
            if not outcome.passing:
                found = [outcome.samples, outcome.reason, *([True] if outcome.mixed else [])]
                journal.append(["file", job.path, self.sizes[i], self.times[i], *found])
                journal.flush()

    def _note_channels(self, source: int, mixed: bool) -> None:
        (self.mixed.add if mixed else self.mixed.discard)(source)

    def _spread(
        self, work: Callable[[Job], FileOutcome], jobs: Iterator[Job], waiting: int, total: int, verb: str
    ) -> Iterator[tuple[Job, FileOutcome]]:
        if waiting:
            loaded = ("sound_groove.networks.features",) if self.options.features else ()
            with ProgressBar(total=total, initial=total - waiting, desc=verb, unit="file", disable=None) as bar:
                for done in spread(work, jobs, min(self.workers, waiting), crashed, loaded=loaded):
                    bar.update()
                    yield done

    def _pieces(self) -> list[_Piece]:
        """The usable files, or what joining makes of them, in the order of the sources."""
        usable = [i for i, length in enumerate(self.lengths) if length > 0]
        if self.options.join_s is None:
            return [_Piece((i,), self.lengths[i]) for i in usable]
        groups: dict[tuple[str, str | None], list[int]] = {}
        for i in usable:
            source = self.sources[i]
            shared = getattr(source, self.listing.join_by) if self.listing.join_by else None
            groups.setdefault((source.speaker, shared), []).append(i)
        minimum = round(self.options.join_s * SAMPLE_RATE)
        pieces = []
        for members in groups.values():
            lengths = [self.lengths[i] for i in members]
            for first, last in join_neighbours(lengths, minimum):
                pieces.append(_Piece(tuple(members[first:last]), sum(lengths[first:last])))
        self._refuse_clashes(pieces)
        return sorted(pieces)

    def _refuse_clashes(self, pieces: list[_Piece]) -> None:
        """A joined piece is called after its first file, +N; a file that is itself called so could take its place."""
        joined = {self._key(piece) for piece in pieces if len(piece.members) > 1}
        for piece in pieces:
            if len(piece.members) == 1 and self._key(piece) in joined:
                path = self.sources[piece.members[0]].path
                raise CorpusError(f"{path}: has the name that joining gives to another utterance; rename this file")

    def _drop_short(self, pieces: list[_Piece], skipped: list[Skipped]) -> list[_Piece]:
        minimum = self.options.minimum_duration_s * SAMPLE_RATE
        for piece in pieces:
            if piece.samples < minimum:
                why = f"lasts {piece.samples / SAMPLE_RATE:.2f} s, less than {self.options.minimum_duration_s:g} s"
                skipped += [Skipped(self.sources[i].path, why, "short") for i in piece.members]
        return [piece for piece in pieces if piece.samples >= minimum]

    def _copy(self, journal: Journal, pieces: list[_Piece], skipped: list[Skipped]) -> list[_Piece]:
        """Write features and wav files that are not there yet; returns the pieces for which that went well."""
        waiting = array("q", (n for n, piece in enumerate(pieces) if not self._is_copied(piece)))
        bad: set[int] = set()
        jobs = (self._copy_job(n, pieces[n]) for n in waiting)
        verb = "writing " + " and ".join(name for name in ("features", "wav") if getattr(self.options, name))
        for job, outcome in self._spread(copy_utterance, jobs, len(waiting), len(pieces), verb):
            piece = pieces[job.number]
            changed = "" if outcome.samples == piece.samples else CHANGED
            if reason := outcome.reason or changed:
                bad.add(job.number)
                skipped += [Skipped(path, reason, "bad") for path in job.paths]
            else:
                journal.append(["copied", self._key(piece), self._signature(piece)])
                journal.flush()
        return [piece for n, piece in enumerate(pieces) if n not in bad]

    def _pack(self, journal: Journal, pieces: list[_Piece], skipped: list[Skipped]) -> list[_Piece]:
        """Write shards that are not there yet; returns the pieces that are in one, with their places."""

        def describe(n: int) -> Packable:
            return Packable(self._paths(pieces[n]), self._signature(pieces[n]))

        packer = Packer(array("q", (piece.samples for piece in pieces)), describe, self.folder, self.workers)
        left_out = packer.run(journal, self.packed)
        for n, reason in left_out.items():
            skipped += [Skipped(path, reason, "bad") for path in self._paths(pieces[n])]
        return [pieces[n]._replace(shard=shard, offset=offset) for n, shard, offset in packer.places(left_out)]

    def _copy_job(self, number: int, piece: _Piece) -> CopyJob:
        return CopyJob(number, self._paths(piece), self._wav_path(piece), self._feature_path(piece))

    def _is_copied(self, piece: _Piece) -> bool:
        copies = (self._wav_path(piece), self._feature_path(piece))
        return self.copied.get(self._key(piece)) == self._signature(piece) and all(
            os.path.exists(path)  # noqa: PTH110 - 640,000 times
            for path in copies
            if path is not None
        )

    def _paths(self, piece: _Piece) -> tuple[str, ...]:
        return tuple(self.sources[i].path for i in piece.members)

    def _key(self, piece: _Piece) -> str:
        more = len(piece.members) - 1
        return self.sources[piece.members[0]].key + (f"+{more}" if more else "")

    def _signature(self, piece: _Piece) -> str:
        text = "".join(f"{self.sources[i].path}\n{self.sizes[i]} {self.times[i]}\n" for i in piece.members)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _wav_path(self, piece: _Piece) -> str | None:
        return self.folder.wav_path(self._key(piece)) if self.options.wav else None

    def _feature_path(self, piece: _Piece) -> str | None:
        return self.folder.feature_path(self._key(piece)) if self.options.features else None

    def _utterances(self, pieces: list[_Piece], held_out: frozenset[str]) -> Iterator[Utterance]:
        for piece in pieces:
            members: list[Source] = [self.sources[i] for i in piece.members]
            first, wav_path = members[0], self._wav_path(piece)
            yield Utterance(
                key=self._key(piece),
                speaker=first.speaker,
                paths=(wav_path,) if wav_path else self._paths(piece),
                samples=(piece.samples,) if wav_path else tuple(self.lengths[i] for i in piece.members),
                split="validation" if first.speaker in held_out else "train",
                genre=first.genre if all(source.genre == first.genre for source in members) else None,
                session=first.session if all(source.session == first.session for source in members) else None,
                feature_path=self._feature_path(piece),
                shard_path=piece.shard,
                shard_offset=piece.offset,
            )

    def _report(
        self, pieces: list[_Piece], held_out: frozenset[str], counts: Counter[str], skipped: list[Skipped]
    ) -> Report:
        utterances, samples = Counter[bool](), Counter[bool]()
        for piece in pieces:
            side = self.sources[piece.members[0]].speaker in held_out
            utterances[side] += 1
            samples[side] += piece.samples
        lost = sorted({source.speaker for source in self.sources} - counts.keys())
        mixed = [self.sources[i].path for piece in pieces for i in piece.members if i in self.mixed]
        notes = [*self.listing.notes, *mixed_notes([printable(path) for path in mixed])]
        if lost:
            notes.append(f"{len(lost)} speakers have no usable utterance: {abbreviate(lost)}")
        able = sum(
            1
            for speaker, utterances_of in counts.items()
            if utterances_of >= 2
            and (self.listing.validation_candidates is None or speaker in self.listing.validation_candidates)
        )
        if few := few_held_out(len(held_out), self.options.validation_speakers, able):
            notes.append(few)
        speakers = {False: len(counts) - len(held_out), True: len(held_out)}
        sides = {
            side: SplitCounts(speakers[side], utterances[side], round(samples[side] / SAMPLE_RATE / 3600, 4))
            for side in (False, True)
        }
        return Report(
            corpus=self.listing.corpus,
            out=self.folder.path,
            options=self.options,
            train=sides[False],
            validation=sides[True],
            files=len(self.sources),
            used=sum(len(piece.members) for piece in pieces),
            joined=sum(len(piece.members) > 1 for piece in pieces),
            skipped=tuple(skipped),
            ignored=self.listing.ignored,
            notes=tuple(notes),
            facts={**self.listing.facts, "speakers_without_utterances": lost, "channels_differ": len(mixed)},
            licence=self.listing.licence,
        )


def _choose(counts: Counter[str], listing: Listing, options: PreparationOptions) -> frozenset[str]:
    return choose_validation_speakers(counts, listing.validation_candidates, options.validation_speakers, options.seed)


def _nothing_found(listing: Listing, corpus: Corpus) -> str:
    where = ", ".join(str(value) for name, value in corpus.identity().items() if name != "corpus" and value)
    return f"{where}: no audio found ({listing.ignored} other files, {len(listing.skipped)} things left out)"


def _nothing_usable(files: int, skipped: list[Skipped], out: Path) -> str:
    reason, count = Counter(skip.reason for skip in skipped).most_common(1)[0]
    return f"none of the {files} audio files can be used; {count} times: {reason} (all in {out / 'skipped.tsv'})"
