"""The `distillation` section of a recipe: learning from a teacher, from its embeddings or by ear."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sound_groove.recipe.section import PositiveRange, Probability, Range, Section


class UnheardConfiguration(Section):
    """What no ear should notice, done to the network's copy of a crop and not to the teacher's.

    Attributes:
        gate_probability: share of crops whose quiet frames of 20 ms become zeros, or noise at -90 or -70 dB.
        padding_probability: share of batches with zeros before and behind their crops, of an eighth to half of their
            length.
        loss_probability: share of crops that lose packets of 20 to 60 ms, which become zeros.
        comfort_probability: share of crops whose pauses are filled with faint noise.
        cut_probability: share of crops whose pauses are cut out; what is left is repeated to the crop's length.
        gain_db: range of the gain.
    """

    gate_probability: Probability = 0.15
    padding_probability: Probability = 0.15
    loss_probability: Probability = 0.1
    comfort_probability: Probability = 0.05
    cut_probability: Probability = 0.15
    gain_db: Range = (-30.0, 10.0)


class CropConfiguration(Section):
    """The crops that teacher and network hear, for `distillation.of: crop`; their maker writes them into shards.

    A shard holds `rounds` batches of each length. The network is trained on one new shard an epoch, and again on older
    ones, so that each crop is visited `visits` times, far apart. Rooms, noise, babble and the telephone band are those
    of `augmentation`.

    Attributes:
        folder: of the shards; `crops` in the run folder by default.
        maker: "process", where `sound-groove crops` makes them beside the training; or "loop", where the training makes
            them itself when it needs them, with the teacher on its device: for a GPU.
        seconds: shortest and longest crop.
        lengths: how many different lengths there are, evenly spaced.
        rounds: batches of each length in a shard.
        visits: how often the network is trained on a crop.
        kept: shards on the disk at most.
        takes: crops in a row that are of one voice, from other utterances of it, in other moods, rooms and noise: that
            they are one voice is what the teacher has to say.
        warped: share of voices that are made other voices, by speed and formants; and share of takes that are spoken
            in another mood, by pitch, tempo and tilt. Each is changed in some of them.
        speed: range of the speed, which moves pitch and formants together.
        formants: range of the factor by which formants are moved apart from the pitch.
        pitch: range of the factor by which the pitch is moved apart from the formants.
        tempo: range of the tempo, which leaves pitch and formants where they are.
        tilt_db: range of the spectral tilt, in decibels an octave.
        mixed: share of crops with a second voice.
        mixed_db: range of how much louder the first voice is.
        music: share of crops with music, which is made up.
        music_db: range of how much louder the voice is.
        clipped: share of crops that are clipped.
        coded: share of crops that went through a codec: Opus, mp3, GSM, mu-law or ADPCM.
        level_db: range of the level (RMS) that both hear.
        unheard: what is done to the network's copy alone.
    """

    folder: Path | None = None
    maker: Literal["process", "loop"] = "process"
    seconds: PositiveRange = (1.0, 6.0)
    lengths: Annotated[int, Field(ge=1, le=50)] = 6
    rounds: Annotated[int, Field(ge=1, le=1000)] = 2
    visits: Annotated[int, Field(ge=1, le=3)] = 2
    kept: Annotated[int, Field(ge=5, le=10_000)] = 16
    takes: Annotated[int, Field(ge=1, le=1000)] = 4
    warped: Probability = 0.5
    speed: PositiveRange = (0.7, 1.4)
    formants: PositiveRange = (0.85, 1.18)
    pitch: PositiveRange = (0.8, 1.25)
    tempo: PositiveRange = (0.8, 1.25)
    tilt_db: Range = (-3.0, 3.0)
    mixed: Probability = 0.1
    mixed_db: Range = (0.0, 15.0)
    music: Probability = 0.05
    music_db: Range = (0.0, 20.0)
    clipped: Probability = 0.05
    coded: Probability = 0.3
    level_db: Range = (-40.0, -15.0)
    unheard: UnheardConfiguration = UnheardConfiguration()


class DistillationConfiguration(Section):
    """Learning from a teacher, whose embeddings those of the network are drawn to.

    Of "utterance", the teacher hears the clean, whole utterance once, and the network an augmented crop of it. The loss
    is label_weight x AAM-Softmax + weight x the mean of 1 - cosine. Crops that are played at another speed than 1 are
    other voices, and only AAM-Softmax is computed of them.

    Of "crop", both hear the same augmented crop, and every crop is another one (Beyer et al. 2022, "Knowledge
    distillation: a good teacher is patient and consistent"). AAM-Softmax is computed of crops of one unwarped voice.

    Attributes:
        of: "utterance" or "crop".
        teacher: a .npz file of embeddings (arrays `path` and `emb`; an utterance is known by the end of its path), or a
            speaker model in ONNX that takes waveforms (B, samples) or Kaldi filterbanks (B, T, 80). Of "crop", a model:
            ONNX, a model file of ours, or CAM++'s published state dictionary (.pt).
        centred: whether the mean of the teacher's embeddings is taken from each of them first: what all voices have in
            common is easily learnt, and would be most of what there is to gain.
        weight: of the distance to the teacher's embeddings; 0 is for "crop" only, where other terms can take its place.
        label_weight: of AAM-Softmax; 0 learns from the teacher alone.
        unlabelled: a prepared folder of more speech, whose speakers need not be known: only the teacher speaks of it.
        unlabelled_items: utterances of it that come with every batch, over all devices; not for "crop", where crops are
            drawn from labelled and unlabelled speech alike, by its duration.
        matrix_weight: for "crop", of the distance between the cosines of all pairs of a batch and those of the teacher.
        neighbour_weight: for "crop", of how differently network and teacher say whom a crop resembles, of the others of
            its batch and of the crops before it (Fang et al. 2021, "SEED: self-supervised distillation").
        neighbour_temperature: by which the teacher's cosines are divided there; the lower, the more its nearest count.
        neighbours: how many earlier crops a crop is compared with there, beside those of its batch.
        frame_weight: for "crop", of the distance between what the network pools over time and what the teacher pools,
            at every frame of 20 ms (Romero et al. 2015, "FitNets: hints for thin deep nets"). The teacher must be
            CAM++'s published state dictionary, and the network ecapa_tdnn or campplus. Shards are three times as large
            with it.
        norm_weight: for "crop", of how well the embedding's norm tells its cosine with the teacher's embedding.
        crops: for "crop", what is heard.
    """

    of: Literal["utterance", "crop"] = "utterance"
    teacher: Path | None = None
    centred: bool = True
    weight: Annotated[float, Field(ge=0, le=1000)] = 10.0
    label_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    unlabelled: Path | None = None
    unlabelled_items: Annotated[int, Field(ge=0, le=100_000)] = 0
    matrix_weight: Annotated[float, Field(ge=0, le=1000)] = 10.0
    neighbour_weight: Annotated[float, Field(ge=0, le=1000)] = 0.0
    neighbour_temperature: Annotated[float, Field(gt=0, le=1)] = 0.04
    neighbours: Annotated[int, Field(ge=0, le=1_000_000)] = 3072
    frame_weight: Annotated[float, Field(ge=0, le=1000)] = 0.0
    norm_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    crops: CropConfiguration = CropConfiguration()
