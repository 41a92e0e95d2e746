"""The part of the contract of methods that is about what a method states of itself."""

from typing import Any

from pydantic import ValidationError

from ltgen_bench.experiments.check.trial import Trial, Unmet
from ltgen_bench.methods.base import EVIDENCE, Settings
from ltgen_bench.methods.references import citable


def it_says_what_it_is(trial: Trial) -> None:
    """Name, one-line summary, source and extra passes are texts; the docstring states the objective."""
    kind = trial.kind
    for name in ("name", "summary", "source", "extra_forwards"):
        text = getattr(kind, name)
        if not (isinstance(text, str) and text.strip()) or "\n" in text:
            raise Unmet(f"{name} is {text!r}; it must be a text of one line.")
    if kind.name != trial.name:
        raise Unmet(f"it is registered as '{trial.name}' and calls itself '{kind.name}'; make both the same.")
    if not (kind.__doc__ or "").strip():
        raise Unmet(f"class {kind.__name__} has no docstring; state the objective there, which `method show` prints.")


def its_settings_are_strict_frozen_and_described(trial: Trial) -> None:
    """All have defaults and descriptions; unknown names, values of another type and later changes are refused."""
    kind = trial.kind.Settings
    if not issubclass(kind, Settings):
        raise Unmet("Settings must be derived from ltgen_bench.methods.base.Settings.")
    bare = [name for name, setting in kind.model_fields.items() if setting.is_required()]
    if bare:
        raise Unmet(f"the settings {', '.join(bare)} have no default; give them one, e.g. Field(0.5, description=...).")
    silent = [name for name, setting in kind.model_fields.items() if not setting.description]
    if silent:
        raise Unmet(f"the settings {', '.join(silent)} have no description; write Field(..., description=\"...\").")
    refused: dict[str, dict[str, Any]] = {f"{name} of any type": {name: object()} for name in kind.model_fields}
    refused["unknown names"] = {"no_such_setting": 1}
    for what, values in refused.items():
        try:
            kind(**values)
        except ValidationError:
            continue
        raise Unmet(f"the settings accept {what}; leave extra=\"forbid\" and strict=True of the base class as they are.")
    if not kind.model_config.get("frozen"):
        raise Unmet("the settings can be changed after they were checked; leave frozen=True of the base class as it is.")


def its_evidence_and_references_are_known(trial: Trial) -> None:
    """`evidence` is one of the known words, and what it cites is in a references.bib."""
    kind = trial.kind
    if kind.evidence not in EVIDENCE:
        raise Unmet(f"evidence is {kind.evidence!r}; it is one of {', '.join(map(repr, EVIDENCE))}.")
    if not isinstance(kind.cites, tuple):
        raise Unmet(f"cites is {kind.cites!r}; it must be a tuple of keys, e.g. (\"ho2020ddpm\",).")
    known = citable(kind.__module__)
    unknown = [key for key in kind.cites if key not in known]
    if unknown:
        raise Unmet(f"cites has {unknown[0]!r}, which is neither shipped nor in a references.bib beside the file; shipped are: "
                    f"{', '.join(known)}.")
