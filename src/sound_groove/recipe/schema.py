"""The typed schema of a training recipe.

Learning rates are stated for a total batch of `per_batch` utterances and scale linearly with the total batch, so that
the number of devices and of accumulation steps changes nothing (Goyal et al. 2017, section 2.1).
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sound_groove.recipe.network_sizes import DEFAULT_KIND, published_sizes

Bounds = TypeVar("Bounds", tuple[float, float], tuple[int, int])


def _in_order(bounds: Bounds) -> Bounds:
    if bounds[0] > bounds[1]:
        raise ValueError("must run from low to high")
    return bounds


def _distinct_with_one(speeds: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(speeds)) < len(speeds):
        raise ValueError("must be different from each other")
    if 1.0 not in speeds:
        raise ValueError("must have 1.0 among them, the speed at which the model will be used")
    return speeds


Probability = Annotated[float, Field(ge=0, le=1)]
Speed = Annotated[float, Field(ge=0.5, le=2, multiple_of=0.01)]
Range = Annotated[tuple[float, float], AfterValidator(_in_order)]
PositiveRange = Annotated[tuple[Annotated[float, Field(gt=0)], float], AfterValidator(_in_order)]


class Section(BaseModel):
    """A part of a recipe: frozen, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_section_is_all_defaults(cls, content: object) -> object:
        return {} if content is None else content

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_not_a_number(cls, value: object, info: ValidationInfo) -> object:
        # YAML reads `yes` and `on` as true, and pydantic would read true as 1.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("must not be true or false (which yes, no, on and off mean in YAML)")
        return value


class NetworkConfiguration(Section):
    """The network that maps filterbank features to an embedding.

    Attributes:
        kind: "ecapa_tdnn", "resnet34", "resnet152", "resnet221", "resnet293", "campplus", "eres2netv2", "redimnet2",
            "w2v_bert" or "wavlm"; or a class of one's own, as "module:Class", which is loaded if the command line names
            its module. (Files and recipes of before call it `architecture`.)
        size: of redimnet2, "b0" (which is its default) to "b6".
        channels: width C. Of ECAPA-TDNN that of the convolutional blocks, a multiple of 8; 512 and 1024 are the
            published sizes. Of CAM++ the channels that are pooled, a multiple of 16. Of the others the channels at the
            start; of w2v-BERT and WavLM the width of what hears their layers. By default the published one: 512 for
            ECAPA-TDNN and CAM++, 32 for ResNets, 64 for ERes2NetV2, 12 to 64 for ReDimNet2 b0 to b6, 128 for w2v-BERT
            and WavLM.
        embedding_size: D; 192 and 256 are usual. By default the published one: 256 for ResNets, w2v-BERT and WavLM, 192
            for the others.
        feature_size: mel bins F, 80 or 72; or 1, the samples themselves, for WavLM and networks of one's own. By
            default 72 for ReDimNet2, 1 for WavLM, 80 for the others.
        options: what only this network has: of ecapa_tdnn `unbiased` (true or false: statistics for the attention as
            WeSpeaker has them), `scale` (8: groups of channels in a Res2 convolution), `pooled` (1536 channels) and
            `speechbrain` (true or false: as SpeechBrain has it); of campplus `epsilon` (1e-7
            as WeSpeaker pools); of eres2netv2 `width`, `scale` and `expansion` (26, 2 and 2; the wide one has 24, 4 and
            4); of redimnet2 `group_norm` (true or false: sequences are normalised); of w2v_bert and wavlm `layers`
            (adapters, or weighted_sum: how the layers of the backbone are heard), `states` (so many of the last layers;
            all of them without it) and the sizes of the backbone, `width`, `depth`, `heads` and `inner` (1024, 24, 16
            and 4096); of wavlm `form` too (large, or base: samples are not normalised, and the sizes are 768, 12, 12
            and 3072) and `convolution` (512 channels); of a network of one's own whatever it takes.
        floor_db: what the network hears below the recording's level: white noise so many dB below it is added to the
            energies of the mel filters, so that digital silence decides nothing, and no gain. It is a part of the model
            and of its hash. null = no floor, as Kaldi has it.
        silence_share: how much digital silence is put behind the speech of a recording before it is embedded, as a
            share of its length, so that pauses which were emptied or cut out count less. The network needs a floor
            then. It is a part of the model and of its hash. null = none.
    """

    kind: Annotated[str, Field(max_length=200)] = DEFAULT_KIND
    size: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6"] | None = None
    channels: Annotated[int, Field(ge=4, le=4096, multiple_of=4)] = 512
    embedding_size: Annotated[int, Field(ge=2, le=4096)] = 192
    feature_size: Literal[1, 72, 80] = 80
    options: dict[str, bool | int | float | str] = {}
    floor_db: Annotated[float, Field(ge=0, le=120)] | None = None
    silence_share: Annotated[float, Field(ge=0, le=4)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _published_sizes_are_the_defaults(cls, content: object) -> object:
        if content is not None and not isinstance(content, dict):
            return content
        given = dict(content or {})
        if "architecture" in given and "kind" not in given:
            given["kind"] = given.pop("architecture")
        if given.get("kind") == "redimnet2" and given.get("size") is None:
            given["size"] = "b0"
        sizes = published_sizes(given.get("kind", DEFAULT_KIND), given.get("size"))
        return {**asdict(sizes), **given}

    @field_validator("size")
    @classmethod
    def _only_one_has_sizes(cls, size: str | None, info: ValidationInfo) -> str | None:
        if size is not None and info.data.get("kind") != "redimnet2":
            raise ValueError("only redimnet2 comes in sizes; leave it out, or set network.kind to redimnet2")
        return size

    @field_validator("feature_size")
    @classmethod
    def _few_hear_samples(cls, value: int, info: ValidationInfo) -> int:
        kind = str(info.data.get("kind", ""))
        if value == 1 and kind != "wavlm" and ":" not in kind:
            raise ValueError("1 means the samples themselves, which wavlm and networks of your own hear; others do not")
        return value

    @field_validator("floor_db")
    @classmethod
    def _lies_under_filterbanks(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("feature_size") == 1:
            raise ValueError("is laid under filterbanks, and this network hears the samples themselves; leave it out")
        return value

    @field_validator("silence_share")
    @classmethod
    def _needs_a_floor(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("floor_db") is None:
            raise ValueError("without a floor digital silence would decide: set network.floor_db too")
        return value


class SamplerConfiguration(Section):
    """How utterances are drawn into batches.

    Attributes:
        kind: "pk" draws P speakers and K utterances of each; "shuffled" visits every utterance once an epoch.
        speakers: P, for "pk".
        utterances: K, for "pk".
        companions: for "pk", how many speakers come with each, namely those that the network confuses most with it
            (hard prototype mining, Thienpondt et al. 2020); found anew for each epoch. 1 + companions must divide P.
        batch_size: utterances a batch, for "shuffled".
    """

    kind: Literal["pk", "shuffled"] = "pk"
    speakers: Annotated[int, Field(ge=1)] = 32
    utterances: Annotated[int, Field(ge=1)] = 4
    companions: Annotated[int, Field(ge=0, le=100)] = 0
    batch_size: Annotated[int, Field(ge=2)] = 128

    @property
    def total_batch(self) -> int:
        """Utterances in one optimiser step, over all devices."""
        return self.speakers * self.utterances if self.kind == "pk" else self.batch_size


class DataConfiguration(Section):
    """What is trained on.

    Attributes:
        prepared: the folder that `sound-groove prepare` wrote; a relative path starts at the working directory.
        input: "waveform" reads random crops of audio; "features" reads the stored `.pt` filterbanks.
        crop_frames: length of a crop in frames of 10 ms; shorter utterances are repeated.
        minimum_duration_s: utterances shorter than this are left out of training.
        exclude: a file that says which recordings are left out and which have another label: `choices.tsv` of
            `sound-groove doctor`, or its `clean.tsv`, beyond which nothing is taken. It is heeded in validation too.
        label_noise: a table of the probability that the label of a recording is right, by which the loss of its crops
            is multiplied: `label_noise.tsv` of `sound-groove doctor`. What `exclude` moves has full weight.
        workers: processes that read crops, and on a CPU make features of them; 0 = the training process does it.
        sampler: how they are drawn into batches.
    """

    prepared: Path
    input: Literal["waveform", "features"] = "waveform"
    crop_frames: Annotated[int, Field(ge=20, le=6000)] = 200
    minimum_duration_s: Annotated[float, Field(ge=0)] = 0.0
    exclude: Path | None = None
    label_noise: Path | None = None
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    sampler: SamplerConfiguration = SamplerConfiguration()


class MaskingConfiguration(Section):
    """SpecAugment (Park et al. 2019): stretches of time and bands of frequency are hidden from the network.

    Attributes:
        probability: share of items that are masked; each draws its own masks.
        time_masks: stretches of time an item.
        time_mask_frames: longest of them, in frames of 10 ms; each is drawn from 0 to this.
        frequency_masks: bands of frequency an item.
        frequency_mask_bins: widest of them, in mel bins; each is drawn from 0 to this.
    """

    probability: Probability = 1.0
    time_masks: Annotated[int, Field(ge=0, le=20)] = 0
    time_mask_frames: Annotated[int, Field(ge=1)] = 10
    frequency_masks: Annotated[int, Field(ge=0, le=20)] = 0
    frequency_mask_bins: Annotated[int, Field(ge=1, le=80)] = 8

    @property
    def changes_features(self) -> bool:
        """Whether it is switched on."""
        return self.probability > 0 and self.time_masks + self.frequency_masks > 0


class NoiseConfiguration(Section):
    """A folder of recorded noise.

    Attributes:
        folder: searched for audio at any depth. Of MUSAN, the three parts are taken as three folders: noise at 0 to
            15 dB, music at 5 to 15, and speech at 10 to 30, of which 3 to 7 recordings are heard at once.
        snr_db: range of the signal-to-noise ratio; 0 to 15 by default. With a range of one's own, MUSAN is one folder.
        voices: how many recordings are heard at once, from and to; more than one makes babble of speech.
    """

    folder: Path
    snr_db: Range | None = None
    voices: Annotated[tuple[Annotated[int, Field(ge=1, le=50)], int], AfterValidator(_in_order)] = (1, 1)


class AugmentationConfiguration(Section):
    """Speed, and noise and reverberation made up inside the batch, on the training device.

    Each item draws for itself. A speed makes another voice of a voice, so each speed of each speaker is a class of its
    own. Noise is coloured Gaussian noise, or babble of other items of the batch.
    Reverberation is a synthetic room response: exponentially decaying noise behind a direct path (Polack 1988).

    Attributes:
        speeds: at which crops are played, each as likely as the others, such as 0.9, 1.0 and 1.1; steps of 0.01.
        noise_probability: share of items that get noise.
        babble_share: of those, the share whose noise is babble of other items of the batch.
        coloured_share: of those, the share whose noise is coloured noise although `noise_folders` names recordings;
            without any, all noise but the babble is.
        snr_db: range of the signal-to-noise ratio of noise that is made up.
        noise_folders: recorded noise, each folder as likely as the others; it takes the place of coloured noise.
        reverberation_probability: share of items that get reverberation.
        rt60_s: range of the reverberation time of rooms that are made up.
        room_folder: recorded or simulated room responses, which take the place of made-up ones; of RIRS_NOISES, those
            of its simulated rooms.
        telephone_probability: share of items limited to the telephone band (below about 3.4 kHz).
        gain_db: range of the gain; it matters only beside dither, since the mean of the features is removed.
        masking: of the features; it works on stored ones too.
    """

    speeds: Annotated[tuple[Speed, ...], AfterValidator(_distinct_with_one)] = (1.0,)
    noise_probability: Probability = 0.0
    babble_share: Probability = 0.3
    coloured_share: Annotated[Probability, Field(validate_default=True)] = 0.0
    snr_db: Range = (0.0, 20.0)
    noise_folders: tuple[NoiseConfiguration, ...] = ()
    reverberation_probability: Probability = 0.0
    rt60_s: PositiveRange = (0.1, 0.8)
    room_folder: Path | None = None
    telephone_probability: Probability = 0.0
    gain_db: Range = (0.0, 0.0)
    masking: MaskingConfiguration = MaskingConfiguration()

    @field_validator("coloured_share")
    @classmethod
    def _shares_fit(cls, share: float, info: ValidationInfo) -> float:
        babble = info.data.get("babble_share", 0.0)
        if share + babble > 1.0:
            raise ValueError(f"and babble_share ({babble:g}) are more than 1 together")
        return share

    @property
    def recorded_share(self) -> float:
        """Of the items with noise, the share whose noise is recorded."""
        return 1.0 - self.babble_share - self.coloured_share if self.noise_folders else 0.0

    @property
    def changes_waveforms(self) -> bool:
        """Whether anything that works on waveforms of one speed is switched on."""
        return any((self.noise_probability, self.reverberation_probability, self.telephone_probability)) or (
            self.gain_db != (0.0, 0.0)
        )


class RiseConfiguration(Section):
    """A value over the epochs: `initial` until `start_epoch`, `final` from `end_epoch` on."""

    initial: float
    final: float
    start_epoch: Annotated[float, Field(ge=0)] = 0.0
    end_epoch: Annotated[float, Field(ge=0)] = 0.0
    growth: Literal["linear", "exponential", "adaptive"] = "exponential"
    accuracy: Probability = 0.7

    @field_validator("end_epoch")
    @classmethod
    def _rise_is_ordered(cls, end_epoch: float, info: ValidationInfo) -> float:
        start_epoch = info.data.get("start_epoch", 0.0)
        if end_epoch < start_epoch:
            raise ValueError(f"must not lie before start_epoch ({start_epoch:g})")
        return end_epoch

    @field_validator("growth")
    @classmethod
    def _rise_takes_time(cls, growth: str, info: ValidationInfo) -> str:
        if growth == "adaptive" and info.data.get("end_epoch", 1.0) <= info.data.get("start_epoch", 0.0):
            raise ValueError("'adaptive' needs an end_epoch after start_epoch: together they say how fast it may rise")
        return growth


class MarginConfiguration(RiseConfiguration):
    """The margin of the loss over the epochs: `initial` until `start_epoch`, `final` from `end_epoch` on.

    Attributes:
        initial: margin before the rise, in radians (of SphereFace2 in cosines, unless `loss.margin_of` is "angle").
        final: margin in radians after it.
        start_epoch: epoch (may be a fraction, counted from 0) at which the rise begins.
        end_epoch: epoch at which it ends.
        growth: "linear"; or "exponential": fast first, as 1 - 0.001^x of the way at the fraction x of the rise; or
            "adaptive": linear while the network keeps up with it, and down again where it does not.
        accuracy: for "adaptive", the training accuracy (without margin, over about the last 100 batches) at which the
            margin rises; it falls where the accuracy is more than 0.1 below.
    """

    initial: Annotated[float, Field(ge=0, lt=1.5)] = 0.0
    final: Annotated[float, Field(ge=0, lt=1.5)] = 0.2


class ScaleConfiguration(RiseConfiguration):
    """The scale of the loss, by which cosines are multiplied, over the epochs; a number alone keeps it as it is.

    Attributes:
        initial: scale before the rise.
        final: scale after it.
        start_epoch: as for the margin.
        end_epoch: as for the margin.
        growth: as for the margin.
        accuracy: as for the margin.
    """

    initial: Annotated[float, Field(gt=0, le=128)] = 32.0
    final: Annotated[float, Field(gt=0, le=128)] = 32.0

    @model_validator(mode="before")
    @classmethod
    def _number_is_a_scale_that_stays(cls, content: object) -> object:
        is_number = isinstance(content, int | float) and not isinstance(content, bool)
        return {"initial": content, "final": content} if is_number else content


class LossConfiguration(Section):
    """What is learnt from labels: AAM-Softmax (Deng et al. 2019), with the option of the inter-top-k penalty, or
    SphereFace2 (Wen et al. 2022); both with the option of sub-centres.

    Attributes:
        kind: "aam_softmax", one choice among all speakers; or "sphereface2", a question for each of them.
        scale: s, by which cosines are multiplied; a number, or how it changes over the epochs.
        subcenters: centres per speaker (Deng et al. 2020); 1 is plain AAM-Softmax.
        margin: the margin over the epochs.
        top_k: how many wrong speakers, those nearest to the utterance, are penalised (inter-top-k, Zhao et al. 2022);
            0 = none.
        penalty: how much nearer they are made to seem, in radians. It rises as the margin does: it is in full force
            when the margin has reached its final value.
        balance: for "sphereface2", the share of the right speaker's question in the loss; the others have the rest.
        exponent: for "sphereface2", t: how far apart the scores of like and unlike are drawn.
        margin_of: for "sphereface2", whether the margin is one of cosines ("cosine"; usual are 0.2, and 0.3 for tuning)
            or of angles in radians ("angle"; 0.15 and 0.25).
    """

    kind: Literal["aam_softmax", "sphereface2"] = "aam_softmax"
    scale: ScaleConfiguration = ScaleConfiguration()
    subcenters: Annotated[int, Field(ge=1, le=16)] = 1
    margin: MarginConfiguration = MarginConfiguration()
    top_k: Annotated[int, Field(ge=0, le=100)] = 0
    penalty: Annotated[float, Field(ge=0, lt=1.5)] = 0.06
    balance: Annotated[float, Field(gt=0, lt=1)] = 0.7
    exponent: Annotated[int, Field(ge=1, le=20)] = 3
    margin_of: Literal["cosine", "angle"] = "cosine"


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
    norm_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    crops: CropConfiguration = CropConfiguration()


class OptimizerConfiguration(Section):
    """The optimiser.

    Attributes:
        kind: "sgd" with momentum, "adamw", or "muon": orthogonal steps for the network's matrices, AdamW for the rest.
        momentum: for SGD.
        nesterov: for SGD.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW, Muon), of biases and normalisation weights too.
        head_rate: by what the learning rate is multiplied for the class weights; more than 1 lets a new head catch up
            with a network that has been trained before.
    """

    kind: Literal["sgd", "adamw", "muon"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    head_rate: Annotated[float, Field(gt=0, le=1000)] = 1.0


class LearningRateConfiguration(Section):
    """The learning rate over the epochs: linear warm-up to `peak`, then decay to `final`.

    Attributes:
        peak: highest rate, for a total batch of `per_batch`.
        final: rate at the last step, for a total batch of `per_batch`.
        per_batch: the total batch for which the rates are stated; the rates scale linearly with the total batch.
        warmup_epochs: length of the warm-up, may be a fraction.
        decay: "exponential", "cosine" or "constant".
    """

    peak: Annotated[float, Field(gt=0)] = 0.1
    final: Annotated[float, Field(gt=0)] = 5e-5
    per_batch: Annotated[int, Field(ge=1)] = 64
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    decay: Literal["exponential", "cosine", "constant"] = "exponential"


class TrainingConfiguration(Section):
    """How long, on what, and how carefully.

    Attributes:
        epochs: passes over the data.
        batches_per_epoch: optimiser steps an epoch; by default as many as the utterances fill.
        device: "auto" takes a GPU when there is one.
        precision: "bf16", "fp16" (CUDA only) or "fp32"; "auto" takes bf16 where the GPU or the CPU has instructions for
            it, and fp32 elsewhere, where bf16 would be several times as slow. A run that is resumed keeps what it began
            with.
        gradient_clip: largest norm of the gradient; 0 switches clipping off.
        gradient_accumulation: parts into which each batch is cut, to fit into memory.
        dither: standard deviation of the features' dither, in 16-bit steps.
        start_from: a model file or run folder whose network training starts from, with a new head: fine-tuning.
            `pretrained` is the model in the package.
        backbone: for `network.kind: w2v_bert` and `wavlm`, where the weights of the backbone begin: a folder that holds
            config.json and model.safetensors, or a name on the Hugging Face hub, `facebook/w2v-bert-2.0`, perhaps with
            a revision (`owner/name@revision`), which is downloaded. The model file holds them afterwards, and needs
            neither.
        frozen_backbone: whether the backbone stays as it is, and only what hears its layers is trained.
        new_head: where that head begins: at the mean embedding of a few utterances of each class, or at random.
        frozen_steps: optimiser steps at first in which the network stays as it is and only the head learns.
        average_epochs: after the last epoch, the mean of the weights of this many epochs is judged as well, and kept if
            it is the best; a next stage starts from it. 0 switches it off.
        moving_average: for `distillation.of: crop`, by what the running mean of the weights, which is the model, is
            multiplied at each step; 0 takes the weights themselves.
        checkpoint_every: steps between writings of last.safetensors, beside the end of each epoch; 0 = only there.
        log_every: steps between entries in steps.jsonl and TensorBoard.
        compile: whether to compile the network with torch.compile.
    """

    epochs: Annotated[int, Field(ge=1)] = 60
    batches_per_epoch: Annotated[int, Field(ge=1)] | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    gradient_clip: Annotated[float, Field(ge=0)] = 5.0
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1
    dither: Annotated[float, Field(ge=0)] = 0.0
    start_from: Path | None = None
    backbone: Annotated[str, Field(max_length=400)] | None = None
    frozen_backbone: bool = True
    new_head: Literal["means", "random"] = "means"
    frozen_steps: Annotated[int, Field(ge=0)] = 0
    average_epochs: Annotated[int, Field(ge=0)] = 0
    moving_average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    checkpoint_every: Annotated[int, Field(ge=0)] = 500
    log_every: Annotated[int, Field(ge=1)] = 10
    compile: bool = False


class ValidationConfiguration(Section):
    """How each epoch is judged on the held-out speakers.

    Attributes:
        every_epochs: epochs between validations; the last epoch is always validated.
        maximum_utterances: at most this many utterances are embedded, spread evenly over the speakers.
        maximum_duration_s: longer utterances are cut to their first part.
        centre_utterances: training utterances, spread evenly over the speakers, whose mean embedding the model
            subtracts from every embedding; it is found anew for each validation. 0 subtracts nothing.
        trials: a folder of trial lists (*.txt) that judge in place of the held-out speakers, by the mean of their EERs;
            for `distillation.of: crop`.
        audio_root: folder to which the lists' paths are relative.
    """

    every_epochs: Annotated[int, Field(ge=1)] = 1
    maximum_utterances: Annotated[int, Field(ge=4, le=10_000)] = 2000
    maximum_duration_s: Annotated[float, Field(ge=0.5)] = 20.0
    centre_utterances: Annotated[int, Field(ge=0, le=100_000)] = 500
    trials: Path | None = None
    audio_root: Path | None = None


class Recipe(Section):
    """A whole recipe.

    Attributes:
        name: the run is written to `outputs/<name>`, and the model bears it.
        seed: of every random draw.
        description: a sentence for the model file, such as data and licence.
        stages: later stages of training. Each is a mapping of the settings that differ in it, written as in the recipe;
            its `training.epochs` must be among them. It starts from the weights of the stage before (from their mean,
            where `training.average_epochs` asks for one) with a fresh optimiser, and the best model of all stages is
            kept.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    description: str = ""
    data: DataConfiguration
    network: NetworkConfiguration = NetworkConfiguration()
    augmentation: AugmentationConfiguration = AugmentationConfiguration()
    loss: LossConfiguration = LossConfiguration()
    distillation: DistillationConfiguration = DistillationConfiguration()
    optimizer: OptimizerConfiguration = OptimizerConfiguration()
    learning_rate: LearningRateConfiguration = LearningRateConfiguration()
    training: TrainingConfiguration = TrainingConfiguration()
    validation: ValidationConfiguration = ValidationConfiguration()
    stages: tuple[dict[str, Any], ...] = ()

    @property
    def items_per_batch(self) -> int:
        """Crops in one optimiser step, over all devices, unlabelled ones too."""
        return self.data.sampler.total_batch + self.distillation.unlabelled_items
