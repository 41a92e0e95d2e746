"""Messages without what is worded freely."""

import re


def brief(problems):
    """What each problem of settings is about, sorted: `train.batch_size: 0`, `train.lr: unknown`; without what would be right."""
    return sorted(re.split(r" is | setting", problem)[0] for problem in problems)
