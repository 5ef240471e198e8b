"""What a store knows a model by: the embedding that it gave of the probe when it was first enrolled with.

A model file says which model it is, and whoever alters the file can have it say the same, and bring a probe of its own
to fit. What the altered file computes is another thing: it gives another embedding of the signal that everybody can
make (`sound_groove.networks.probe`), and is told by that from the model whose voiceprints a store has. In an encrypted
store what is kept is sealed, and its mark belongs to the tally.
"""

import hmac

from sound_groove.errors import OtherModelError, StoreError, printable
from sound_groove.networks.probe import RULE, Probe
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.store.rows import opened_embedding, sealed_embedding
from sound_groove.voiceprints.store.sealing import Sealer

LEAST_COSINE = 0.99  # with what is kept; the same weights in 16 or 8 bits come nearer
PREFIX = f"probe {RULE} "  # of the fact, before the model's hash
MARK_BYTES = 32


def probe_fact(embedding: Embeddings, model_hash: str, sealer: Sealer) -> bytes:
    """What a store keeps of the embedding (D,) that a model gives of the probe: a mark, and the embedding, sealed."""
    sealed = sealed_embedding(embedding, _owner(model_hash), sealer)
    return _mark(sealed, model_hash, sealer) + sealed


def mark_of(fact: bytes) -> bytes:
    """The mark of what a store keeps, empty where it keeps nothing."""
    return fact[:MARK_BYTES]


def opened_probe(fact: bytes, model_hash: str, sealer: Sealer) -> Embeddings:
    """The embedding (D,) of what a store keeps.

    Raises:
        StoreError: it is not what the store wrote.
    """
    sealed = fact[MARK_BYTES:]
    if not hmac.compare_digest(mark_of(fact), _mark(sealed, model_hash, sealer)):
        how = "was changed without the store's key" if sealer.encrypts else "is damaged"
        raise StoreError(
            f"what the store knows model {printable(model_hash[:12])} by {how}, so that no file can be taken for it; "
            "export the voiceprints that you trust and import them into a new store"
        )
    return opened_embedding(sealed, _owner(model_hash), sealer)


def check_probe(model: ModelIdentity, kept: Embeddings | None, given: Embeddings) -> None:
    """Refuse a model that is not the one that a store knows by this hash.

    Args:
        model: what it calls itself.
        kept: (D,) what the store keeps; None where it knows no such model.
        given: (D,) what the model gives.

    Raises:
        OtherModelError: it is another.
    """
    if kept is None:
        return
    cosine = Probe.of(kept, LEAST_COSINE).cosine(given)
    if cosine < LEAST_COSINE:
        raise OtherModelError(
            f"this model calls itself {printable(model.label)} and is another than that of the store's voiceprints: "
            f"the cosine with the embedding of the probe that the store keeps is {cosine:.4f}, and {LEAST_COSINE} is "
            "asked for; use the file that the speakers were enrolled with, which was not changed"
        )


def _mark(sealed: bytes, model_hash: str, sealer: Sealer) -> bytes:
    return sealer.mark(f"{_owner(model_hash)}\0".encode() + sealed)


def _owner(model_hash: str) -> str:
    return f"{PREFIX}{model_hash}"
