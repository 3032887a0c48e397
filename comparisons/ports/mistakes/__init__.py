"""Mistakes that people make of the layers that a recorded program uses, a function for each.

`mistake.py` says what a mistake is; the rooms hold them by the kind of layer, and are found by
themselves. `named.py` says which of them a wrong value looks like.
"""
