"""The service: the verifier over HTTP, for programs and, with a page, for people.

    request -> middleware -> guard -> route -> upload -> worker process (decode, judge) -> embedding -> answer

What a stranger sends is decoded in worker processes that may die; the process that answers, and that holds the store,
never looks into it.
"""

from sound_groove.errors import require_extra

require_extra("The service", "serve", "fastapi", "uvicorn", "python_multipart", "prometheus_client")
