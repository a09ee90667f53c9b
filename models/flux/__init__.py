"""FLUX.1 with references: the arithmetic UNO and USO share, on diffusers' own blocks."""
