"""Names of files of a run that one package writes and others find."""

LOG = "log.jsonl"  # of a training: a line of JSON for every few steps
CHECKPOINT, WEIGHTS = "checkpoint-", ".safetensors"  # and between them the images seen, in 12 digits
CHECKPOINTS = f"{CHECKPOINT}*{WEIGHTS}"
SAMPLES = "samples.npz"
