"""Progress that keeps what was said."""

from ltgen_bench.core.progress import SILENT


class Telling:
    """Progress that keeps what was said."""

    def __init__(self):
        self.said = []
        self.stage = SILENT.stage

    def say(self, message):
        self.said.append(message)
