"""Output on terminals whose encoding lacks characters, without exceptions."""

import codecs
import sys
from io import TextIOWrapper

# What tables and sentences use, in signs of any terminal that are as wide, so that columns stay under their heads.
PLAIN = {"\u2191": "^", "\u2193": "v", "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u00d7": "x", "\u00b7": ".", "\u2026": "~",
         "\u2018": "'", "\u2019": "'", "\u2500": "-", "\u2502": "|", "\u2588": "#", "\u2591": ".",
         "\u25cf": "*", "\u2192": ">"}
HANDLER = "ltgen_bench.plain"


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks: a plain sign, or `\\u65e5`, which JSON reads as the character."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start:error.end]
    return "".join(PLAIN.get(character) or _escaped(character) for character in text), error.end


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


codecs.register_error(HANDLER, _replaced)


def any_text() -> None:
    """Let the standard streams accept every text, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors != HANDLER:
            stream.reconfigure(errors=HANDLER)
