"""Content to features: each tower prepares one kind of content and turns a batch of it into features.

A tower knows no file. `Encoder` makes unit rows of the shared space from what a tower returns.
"""
