"""The diffusion room. Its noise schedule is DDPM's, for all methods: beta linear from 1e-4 to 0.02 over 1000 steps."""

BETA_START, BETA_END, STEPS = 1e-4, 0.02, 1000
