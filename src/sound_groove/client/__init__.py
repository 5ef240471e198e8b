"""A client of the service, for Python: what the library does with a model here, a service does elsewhere.

    from sound_groove.client import Client

    service = Client("https://voice.example.org", key="sg_…")
    service.compare("mine.wav", "other.wav").verdict

It needs nothing beside the plain install, gives the library's own records, and raises what the service refuses as
RequestError, with the service's code.
"""

from sound_groove.client.client import Client, SentRecording

__all__ = ["Client", "SentRecording"]
