"""The split of the survey's Table 2: 1,000 queries and 5,000 training images of CIFAR-10.

This is the split of CNNH (Xia et al. 2014, section 4.1), DNNH (Lai et al. 2015) and the first
experiment of DPSH (Li et al. 2016, section 4.1), called split I here: 100 queries per class, and
500 training images per class from the rest, which is the database: 59,000 images. (Split II, of
DRSCH and the second experiment of DPSH, has 10,000 queries and trains on the other 50,000.)

The papers draw the queries from all images. Here they are drawn from the official test part and the
training images from the official training part. The draw is fixed, and the same for all methods and
seeds. Settings are chosen on `validation`, never on `queries`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.photo_sets import DataError
from training.papers.cifar10.images import Images, Ints

SHARE = 10
"""One in so many test images is a query, and one in so many training images is trained on."""
SEED = 2014


@dataclass(frozen=True)
class Split:
    """Positions of images, int64 each, grouped by class."""

    queries: Ints
    training: Ints
    database: Ints
    """All images but the queries, the training images included."""
    validation: Ints
    """As many images as `queries`, from the training part but not in `training`."""


def split_images(images: Images, where: Path = Path()) -> Split:
    """Draw the split; raises DataError (about the folder `where`) with too few images of a class.

    With the 60,000 images of CIFAR-10, it has 1,000 queries, 5,000 training images, a database of
    59,000, and 1,000 images for validation.
    """
    queries, training, validation = [], [], []
    for label in range(len(images.classes)):
        rng = np.random.default_rng((SEED, label))
        own = images.labels == label
        tests, trains = (rng.permutation(np.flatnonzero(own & part))
                         for part in (images.test, ~images.test))  # fmt: skip
        asked, learned = len(tests) // SHARE, len(trains) // SHARE
        if asked < 1 or learned < 2:
            raise DataError(
                f"{len(trains)} training and {len(tests)} test images of {images.classes[label]};"
                f" {2 * SHARE} and {SHARE} are needed",
                where=where,
            )
        queries.append(tests[:asked])
        training.append(trains[:learned])
        validation.append(trains[learned : learned + asked])
    asked_for = np.concatenate(queries)
    database = np.setdiff1d(np.arange(len(images)), asked_for)
    return Split(asked_for, np.concatenate(training), database, np.concatenate(validation))
