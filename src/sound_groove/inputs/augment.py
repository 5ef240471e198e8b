"""What a recipe asks to be done to the crops of a batch, on the training device: room, noise, telephone line, gain."""

import torch
from torch import Tensor

from sound_groove.inputs.surroundings import Surroundings
from sound_groove.recipe.material import AugmentationConfiguration
from sound_groove.synthesis.batch_draws import BatchDraws
from sound_groove.synthesis.effects import babble, coloured_noise, limit_band, mix, reverberate, room_responses

TELEPHONE_BAND_HZ = (250.0, 3400.0)


class Augmentation:
    """What a recipe asks to be done to the crops of a batch: first the room, then the noise in it, then the line.

    Args:
        configuration: probabilities and ranges.
    """

    def __init__(self, configuration: AugmentationConfiguration) -> None:
        self.configuration = configuration

    def __call__(self, waveforms: Tensor, draws: BatchDraws, surroundings: Surroundings | None = None) -> Tensor:
        """Augmented copies (B, samples); the input is left as it is.

        Args:
            waveforms: (B, samples).
            draws: source of the draws.
            surroundings: recorded noise and rooms, where the recipe names folders of them.
        """
        settings = self.configuration
        if not settings.changes_waveforms:
            return waveforms
        augmented = self._in_rooms(waveforms, draws, surroundings)
        augmented = self._in_noise(augmented, waveforms, draws, surroundings)
        if settings.telephone_probability:
            chosen = draws.chosen(settings.telephone_probability)
            if len(chosen):
                augmented[chosen] = limit_band(augmented[chosen], *TELEPHONE_BAND_HZ)
        if settings.gain_db == (0.0, 0.0):
            return augmented
        return augmented * (10.0 ** (draws.uniform(settings.gain_db) / 20.0)).unsqueeze(1)

    def _in_rooms(self, clean: Tensor, draws: BatchDraws, surroundings: Surroundings | None) -> Tensor:
        """Some of the items in a room each (B, samples): recorded where the recipe names a folder, else made up."""
        settings, augmented = self.configuration, clean.clone()
        if surroundings is not None and settings.room_folder is not None:
            chosen, responses = surroundings.room_items, surroundings.rooms
        elif settings.reverberation_probability:
            chosen = draws.chosen(settings.reverberation_probability)
            responses = room_responses(draws.uniform(settings.rt60_s)[chosen], chosen, draws, settings.rt60_s[1])
        else:
            return augmented
        if len(chosen):
            augmented[chosen] = reverberate(clean[chosen], responses)
        return augmented

    def _in_noise(self, signals: Tensor, clean: Tensor, draws: BatchDraws, surroundings: Surroundings | None) -> Tensor:
        """Some of the items in noise (B, samples): recorded where the recipe names folders, or coloured, or babble."""
        settings = self.configuration
        if not settings.noise_probability:
            return signals
        if surroundings is None or not settings.noise_folders:
            chosen = draws.chosen(settings.noise_probability)
            talks = draws.uniform()[chosen] < settings.babble_share
            noise = torch.empty_like(clean[chosen])
            noise[~talks] = coloured_noise(chosen[~talks], clean.shape[1], draws)
            if settings.babble_share:
                noise[talks] = babble(clean, chosen[talks], draws)
            return _mixed_into(signals, chosen, noise, draws.uniform(settings.snr_db)[chosen])
        noisy = surroundings.noise_items
        signals = _mixed_into(signals, noisy, surroundings.noise, surroundings.snr_db)
        # Made-up noise goes to so many of the items without a recording that all shares are what they should be.
        babbling, colouring = (settings.noise_probability * s for s in (settings.babble_share, settings.coloured_share))
        if not babbling + colouring:
            return signals
        without = 1.0 - settings.noise_probability * settings.recorded_share
        quiet = torch.ones(len(signals), dtype=torch.bool, device=signals.device)
        quiet[noisy] = False
        place = draws.uniform() * without
        if babbling:
            chosen = ((place < babbling) & quiet).nonzero().squeeze(1)
            noise = babble(clean, chosen, draws)
            signals = _mixed_into(signals, chosen, noise, draws.uniform(settings.snr_db)[chosen])
        if colouring:
            chosen = ((place >= babbling) & (place < babbling + colouring) & quiet).nonzero().squeeze(1)
            noise = coloured_noise(chosen, clean.shape[1], draws)
            signals = _mixed_into(signals, chosen, noise, draws.uniform(settings.snr_db)[chosen])
        return signals


def _mixed_into(signals: Tensor, items: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Signals (B, samples), of which the items (N,) have got their noise (N, samples), in place."""
    if len(items):
        signals[items] = mix(signals[items], noise, snr_db)
    return signals
