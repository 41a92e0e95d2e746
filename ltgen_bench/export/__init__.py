"""Trained networks leave as folders of diffusers with a card, and networks in such folders are sampled."""
