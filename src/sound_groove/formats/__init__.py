"""How files of sound are built, one module a family: where their samples are, and whether they are all there.

`sound_groove.container` tells which family a file belongs to; mpeg.py beside it knows mp3.
"""
