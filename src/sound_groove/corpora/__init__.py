"""What lies on the disk: corpora, how they are downloaded and prepared, and the manifest."""
