"""How files of sound are built, one module a family: where their samples are, and whether they are all there.

container.py tells which family a file belongs to.
"""
