"""How fast is the transformer on a GPU? ``python -m loadtest.gpu``: one command, no network, random weights.

It measures what the device can do at most, then the same pictures by diffusers' own transformer and by ours, exact,
compiled and with 8-bit weights, and what encoding and decoding take. It needs torch, transformers and diffusers, and
nothing else that this repository does.
"""
