"""Many embeddings, kept by name: enrolment, verification, identification, and where they are stored."""
