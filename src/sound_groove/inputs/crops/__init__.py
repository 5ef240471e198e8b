"""Crops that a teacher and a network both hear: how they are made, what is done to them, and the shards that hold them.

Whatever is made of a crop is right by construction, because the teacher hears it too. So crops may go where no corpus
is.
"""
