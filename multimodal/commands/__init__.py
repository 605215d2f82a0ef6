"""The commands, each file those that belong together; `multimodal.cli` puts them under one name.

These and `multimodal.console` are the only parts that print. Results go to standard output, everything
else to standard error.
"""
