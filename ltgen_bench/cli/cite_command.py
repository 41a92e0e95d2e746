"""`ltgen-bench cite`: BibTeX of what was used."""

import click

from ltgen_bench.core.errors import unknown_name
from ltgen_bench.core.registry import Registry


@click.command()
@click.argument("names", metavar="METHOD...", nargs=-1, required=True)
def cite(names: tuple[str, ...]) -> None:
    """Print the BibTeX of methods and augmentations.

    \b
    ltgen-bench cite cbdm ada >> references.bib
    """
    from ltgen_bench.methods import METHODS
    from ltgen_bench.training.augmentation import AUGMENTATIONS

    for name in names:
        if name not in METHODS and name not in AUGMENTATIONS:
            raise unknown_name("method or augmentation", name, [*METHODS, *AUGMENTATIONS], "methods")
    from ltgen_bench.methods.references import Work, bibtex

    works = []
    for name in dict.fromkeys(names):
        registry: Registry = METHODS if name in METHODS else AUGMENTATIONS
        works.append(Work(name, *registry.facts(name, "summary", "source", "cites", "__module__")))
    click.echo(bibtex(works), nl=False)
