"""Distillation by ear: teacher and network hear the same crop, and every crop is another one.

Its maker (`maker`) and the training (`trainer`) are two processes joined by shards on the disk
(`sound_groove.inputs.crops`).
"""
