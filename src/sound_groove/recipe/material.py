"""The `data` and `augmentation` sections of a recipe: what a batch is made of."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from sound_groove.recipe.section import PositiveRange, Probability, Range, Section, Speed, in_order


def _distinct_with_one(speeds: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(speeds)) < len(speeds):
        raise ValueError("must be different from each other")
    if 1.0 not in speeds:
        raise ValueError("must have 1.0 among them, the speed at which the model will be used")
    return speeds


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
    voices: Annotated[tuple[Annotated[int, Field(ge=1, le=50)], int], AfterValidator(in_order)] = (1, 1)


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
