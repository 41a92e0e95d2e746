"""The weights files that everybody uses, by extractor: where they lie and what they weigh. Imports no torch.

Names, addresses and hashes are those of torch-fidelity's sources; torch-fidelity checks no hash of DINOv2, whose own is that
of the file as it is widely quoted.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightsFile:
    """One published file."""

    extractor: str
    network: str  # in words
    url: str
    sha256: str  # how the SHA-256 of its bytes begins, or all of it
    megabytes: int
    local_name: str = ""  # under which torch-fidelity keeps it; empty: as in `url`
    torchscript: bool = False  # a program with its weights, which only the SHA-256 in full makes trustworthy

    @property
    def file_name(self) -> str:
        """Its name in a folder of weights."""
        return self.local_name or self.url.rpartition("/")[2]

    @property
    def option(self) -> str:
        """The command line's option for another copy of it."""
        return f"--extractor-weights {self.extractor}=FILE"


def _clip(extractor: str, network: str, sha256: str, name: str, megabytes: int) -> WeightsFile:
    return WeightsFile(extractor, f"CLIP {network}", f"https://openaipublic.azureedge.net/clip/models/{sha256}/{name}.pt", sha256,
                       megabytes, local_name=f"clip-{name.lower()}-{sha256}.pt", torchscript=True)


PUBLISHED = {file.extractor: file for file in (
    WeightsFile("inception", "Inception-v3", "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
                "weights-inception-2015-12-05-6726825d.pth", "6726825d", 96),
    WeightsFile("vgg16", "VGG16", "https://download.pytorch.org/models/vgg16-397923af.pth", "397923af", 553),
    WeightsFile("dinov2", "DINOv2 ViT-L/14", "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
                "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428", 1218),
    _clip("clip", "ViT-L/14 at 336 pixels", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
          "ViT-L-14-336px", 934),
    _clip("clip-b32", "ViT-B/32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "ViT-B-32", 354),
)}
