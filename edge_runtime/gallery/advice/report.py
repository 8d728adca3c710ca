"""The advice on a gallery, as the command and the page show it."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.image.quality import PhotoFault


@dataclass(frozen=True)
class PictureName:
    """An enrolled picture."""

    id: int
    """The id of its first code."""
    label: str
    source: str
    """Where it came from, such as the path of the photo."""


@dataclass(frozen=True)
class FewPictures:
    """A label with too few pictures."""

    label: str
    pictures: int
    """Without near duplicates."""
    needed: int
    """More pictures, to have enough."""
    reason: str


@dataclass(frozen=True)
class PicturePair:
    """Two pictures that are almost the same."""

    picture: PictureName
    other: PictureName
    similarity: float
    """Cosine of the features; 1 for the same file."""


@dataclass(frozen=True)
class AlikeLabels:
    """Two labels that are hard to tell apart, with their most similar pictures."""

    label: str
    other_label: str
    mistaken: int
    """Pictures of either label that are more similar to the other one than to their own, or as
    similar as photos of the same thing usually are."""
    checked: int
    """Pictures of both labels that were checked."""
    picture: PictureName
    other: PictureName
    similarity: float
    """Cosine of the features of the two pictures."""


@dataclass(frozen=True)
class Mislabeled:
    """A picture that probably has the wrong label."""

    picture: PictureName
    similarity: float
    """To the other pictures of its own label."""
    other: PictureName
    """The most similar picture of the label that it probably belongs to."""
    other_similarity: float
    """To that label."""


@dataclass(frozen=True)
class FaultyPhoto:
    """A picture that shows too little."""

    picture: PictureName
    fault: PhotoFault


@dataclass(frozen=True)
class PhotoCheck:
    """The pictures whose pixels were checked."""

    checked: int
    unavailable: int
    """Pictures that were not kept, and whose file is gone or has changed."""
    skipped: int
    """Pictures beyond the limit of one check."""
    faulty: tuple[FaultyPhoto, ...]


@dataclass(frozen=True)
class LabelAccuracy:
    """The pictures of a label, each queried without itself."""

    label: str
    pictures: int
    right: int
    unknown: int
    wrong: int


@dataclass(frozen=True)
class Accuracy:
    """The expected accuracy for new photos that are like the enrolled ones."""

    pictures: int
    """Pictures that were queried without themselves. Their label has others."""
    right: int
    unknown: int
    wrong: int
    first: int
    """Pictures whose own label is the most similar, even if the answer is unknown."""
    strangers: int
    """Pictures that were queried without their label."""
    strangers_named: int
    labels: tuple[LabelAccuracy, ...]
    """In order of their names."""


@dataclass(frozen=True)
class Advice:
    """What to do next with a gallery, and why."""

    actions: tuple[str, ...]
    """One to three sentences, the most useful first."""
    pictures: int
    labels: int
    queried: int
    """Pictures that were compared with the others."""
    note: str
    """Why pictures could not be compared, or empty."""
    accuracy: Accuracy | None
    """None if no label has two different pictures, or without a comparison."""
    few: tuple[FewPictures, ...]
    mislabeled: tuple[Mislabeled, ...]
    """The clearest first."""
    alike: tuple[AlikeLabels, ...]
    """The hardest to tell apart first."""
    duplicates: tuple[PicturePair, ...]
    """Almost the same picture under two labels."""
    repeated: tuple[PicturePair, ...]
    """Near duplicates under one label; the first picture of each pair teaches nothing new."""
    photos: PhotoCheck
