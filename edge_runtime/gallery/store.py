"""The gallery: the enrolled codes of a device, and the search among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from edge_runtime.code import Code, Embedding
from edge_runtime.database.transaction import transaction
from edge_runtime.errors import GalleryModelMismatchError
from edge_runtime.fitting.calibration import Calibration
from edge_runtime.fitting.prior import FeaturePrior
from edge_runtime.gallery import changes, query
from edge_runtime.gallery.advice.report import Advice
from edge_runtime.gallery.advice.survey import AdviceOptions, advise
from edge_runtime.gallery.completion import Lacking, lacking
from edge_runtime.gallery.content import Content, read_content
from edge_runtime.gallery.features.fitted import read_outcome
from edge_runtime.gallery.features.refit import (
    Fitted,
    Refit,
    features_missing,
    is_due,
    refit,
    write_fit,
)
from edge_runtime.gallery.features.rows import read_picture
from edge_runtime.gallery.features.search import Ranking
from edge_runtime.gallery.pictures import (
    EnrolledPicture,
    count_by_label,
    count_enrolled,
    group_ids,
    read_enrolled,
)
from edge_runtime.gallery.records import Counts, EnrollCounts, LabelData, LabeledCode, Stats
from edge_runtime.gallery.removal import (
    Moved,
    Removed,
    relabel_together,
    remove_together,
    take_back,
)
from edge_runtime.gallery.rows import begin_generation
from edge_runtime.gallery.schema import translated
from edge_runtime.gallery.snapshot.packed import Snapshot
from edge_runtime.gallery.sound.store import SoundStore
from edge_runtime.gallery.statistics import gallery_stats
from edge_runtime.position import QueryPosition
from edge_runtime.redaction import redact
from edge_runtime.types import Match


class Gallery(SoundStore):
    """Labeled codes in one file, bound to the model that computed them.

    A method that changes the gallery has committed when it returns. The next `search` includes the
    changes of other processes. An object must be used by one thread only.
    """

    # -- changes ------------------------------------------------------------------------------

    def enroll(
        self, codes: Iterable[LabeledCode], label_data: Mapping[str, LabelData] | None = None
    ) -> list[int | None]:
        """Commit all `codes`, or none, and return their ids.

        The id is None for a code whose digest its label has already; features and a picture that
        it lacks are added. `label_data` is stored with labels that have no such data yet.
        """
        listed = list(codes)
        if not listed:
            return []
        batch = changes.Batch(listed, label_data or {}, self.bits)
        with self._writing(many=len(listed) > changes.MANY):
            return changes.insert(self._connection, batch)

    def enroll_counted(
        self, codes: Sequence[LabeledCode], label_data: Mapping[str, LabelData] | None = None
    ) -> EnrollCounts:
        """Commit all `codes`, or none, and count pictures and codes."""
        return count_enrolled(group_ids(codes, self.enroll(codes, label_data)))

    def enroll_parts(
        self,
        parts: Iterable[Sequence[LabeledCode]],
        label_data: Callable[[], Iterable[tuple[str, LabelData]]],
    ) -> EnrollCounts:
        """Commit the codes of all `parts`, or none, with one part in memory at a time.

        `label_data` is called after the last part. Returns the number of pictures and codes.
        """
        counts = EnrollCounts(0, 0, 0)
        with self._writing(many=True):
            for part in parts:
                batch = changes.Batch(part, {}, self.bits)
                ids = changes.insert(self._connection, batch, in_parts=True)
                new = count_enrolled(group_ids(part, ids))
                counts = EnrollCounts(*map(sum, zip(counts, new, strict=True)))
            changes.add_label_data(self._connection, label_data())
        return counts

    def remove(self, *, label: str | None = None, ids: Sequence[int] = ()) -> Counts:
        """Remove a label with all its codes, or single codes.

        Returns how many codes were removed, and how many pictures lost all of their codes. Raises
        `NotEnrolledError`, and changes nothing, if the label or one of the codes does not exist.
        """
        with self._writing():
            return changes.delete(self._connection, label, ids)

    def remove_together(self, labels: Sequence[str] = (), pictures: Sequence[int] = ()) -> Removed:
        """Remove labels, and pictures by the id of one of their codes: all of them or none.

        Returns what was removed, for `put_back`. Raises `NotEnrolledError`.
        """
        with self._writing():
            return remove_together(self._connection, self._meta, labels, pictures)

    def put_back(self, done: Removed | Moved) -> int:
        """Take `remove_together` or `relabel` back; return the number of codes."""
        with self._writing():
            return take_back(self._connection, self._meta, done)

    def relabel(self, old: str, new: str, *, merge: bool = True) -> Moved:
        """Move the codes of the label `old` to `new`; return what was moved, for `put_back`.

        A picture that is enrolled under both labels is kept once. Raises `NotEnrolledError`, and
        without `merge` `LabelError` if `new` exists.
        """
        with self._writing():
            return relabel_together(self._connection, self._meta, old, new, merge=merge)

    def refit(
        self, bits: int = 64, prior: FeaturePrior | None = None, *, dry_run: bool = False
    ) -> Refit:
        """Fit a code of `bits` bits to the features, and search it if it finds more.

        `prior` is that of the gallery's model. Searches continue with the present codes until the
        change is committed, as a whole. `dry_run` only judges. Raises `FeaturesMissingError`.
        """
        fitted = self._ask(lambda _: self._fitted(bits, prior))
        if not dry_run:
            with self._writing():
                if write_fit(self._connection, fitted):
                    begin_generation(self._connection)
        return fitted.outcome

    def _fitted(self, bits: int, prior: FeaturePrior | None) -> Fitted:
        index = self._memory.index
        if index is None:
            raise features_missing(self.path, self.stats())
        return refit(index, bits, self.bits, prior)

    def refit_due(self) -> bool:
        """Return whether the content has changed enough since the last refit.

        Never without features.
        """
        index = self._ask(lambda _: self._memory.index)
        with translated(self.path):
            last = read_outcome(self._connection)
        return index is not None and is_due(index, last)

    def refit_if_due(
        self, prior: FeaturePrior | None = None, bits: int | None = None
    ) -> Refit | None:
        """Refit if it is due, else return None. Without `bits`, the code keeps its length."""
        if not self.refit_due():
            return None
        return self.refit(bits or self.searched_bits(), prior)

    def searched_bits(self) -> int:
        """Return the length in bits of the code that is searched, the fitted one if there is."""
        index = self._ask(lambda _: self._memory.index)
        return self.bits if index is None else index.snapshot.lookup.bits

    def merge(self, other: Gallery) -> EnrollCounts:
        """Enroll the content of `other`, all or nothing, and count pictures and codes.

        The fit of this gallery stays, and applies to what is added; a fit of `other` is not taken
        over, since it was made for other content. `refit_if_due` fits to both.

        Raises `GalleryModelMismatchError` if its codes were made by another model.
        """
        if (other.model_id, other.bits) != (self.model_id, self.bits):
            raise GalleryModelMismatchError(
                f"its codes were made by model {other.model_id[:12]}, not by {self.model_id[:12]}",
                where=other.path,
                remedy="enroll its photos again with the model that you use now",
            )
        content = other.content()
        counts = self.enroll_counted([code for _, code in content.codes], content.label_data)
        self.add_sounds(other.sounds())
        return counts

    def set_label_data(self, label: str, data: LabelData) -> None:
        """Replace the data stored with `label`; raises `NotEnrolledError` or `InputError`."""
        data.checked(label)
        with self._writing():
            changes.set_label_data(self._connection, label, data)

    def set_payload(self, label: str, payload: str) -> None:
        """Store `payload` (JSON text, or empty) with `label`; raises `NotEnrolledError`."""
        self.set_label_data(label, replace(self.label_data(label), payload=payload))

    def set_thumbnail(self, label: str, jpeg: bytes) -> None:
        """Store a small JPEG (or none, if empty) with `label`; raises `NotEnrolledError`."""
        self.set_label_data(label, replace(self.label_data(label), thumbnail=jpeg))

    # -- queries ------------------------------------------------------------------------------

    def known(self, label: str, digest: bytes) -> bool:
        """Return whether a code with this `digest` is enrolled under `label`."""
        return self.lacking(label, digest) is not None

    def lacking(self, label: str, digest: bytes) -> Lacking | None:
        """Return what the picture with this `digest` lacks; None if `label` does not have it."""
        with translated(self.path):
            return lacking(self._connection, label, digest)

    def labels(self) -> dict[str, int]:
        """Return the number of codes of each label."""
        with translated(self.path):
            return dict(
                self._connection.execute(
                    "SELECT name, count(item.id) FROM label JOIN item ON label_id = label.id "
                    "GROUP BY label.id ORDER BY name"
                )
            )

    def label_counts(self) -> dict[str, Counts]:
        """Return the number of pictures and codes of each label. This reads every row."""
        with translated(self.path):
            return count_by_label(self._connection)

    def pictures(self, label: str) -> list[EnrolledPicture]:
        """Return the pictures of `label`, the oldest first; raises `NotEnrolledError`."""
        with translated(self.path):
            return read_enrolled(self._connection, changes.existing(self._connection, label))

    def label_data(self, label: str) -> LabelData:
        """Return the data stored with `label`; raises `NotEnrolledError`."""
        with translated(self.path):
            return changes.label_data_of(self._connection, label)

    def payload(self, label: str) -> str:
        """Return the JSON text stored with `label`, or ""; raises `NotEnrolledError`."""
        return self.label_data(label).payload

    def thumbnail(self, label: str) -> bytes:
        """Return the JPEG stored with `label`, or b""; raises `NotEnrolledError`."""
        return self.label_data(label).thumbnail

    def kept_picture(self, item_id: int) -> bytes:
        """Return the JPEG that was kept of the picture whose first code this is, or b""."""
        with translated(self.path):
            return read_picture(self._connection, item_id)

    def stats(self) -> Stats:
        """Return the gallery in numbers, all of one generation. This reads every row."""
        return gallery_stats(self._connection, self.path, self._meta)

    def search(
        self,
        code: Code,
        k: int = 5,
        *,
        labels: Collection[str] | None = None,
        near: QueryPosition | None = None,
    ) -> tuple[Match, ...]:
        """Return the `k` enrolled pictures nearest to `code` (uint64 [W]): exact, ties by id.

        The match of a picture is the nearest of its codes. `labels` restricts the search to these
        labels; raises `NotEnrolledError`. `near` gives the position of the query.
        """
        return self._ask(
            lambda snapshot: query.nearest(
                snapshot, code, k, query.label_ids(snapshot, labels), near
            )
        )

    def rank(
        self,
        embedding: Embedding,
        k: int = 5,
        *,
        labels: Collection[str] | None = None,
        near: QueryPosition | None = None,
    ) -> Ranking | None:
        """Return the `k` pictures and the labels most similar to `embedding`; see `search`.

        None if the query or a code has no features, or if there are too many codes for them.
        """
        return self._ask(lambda snapshot: self._memory.rank(snapshot, embedding, k, labels, near))

    def find(
        self,
        embedding: Embedding,
        k: int = 5,
        *,
        labels: Collection[str] | None = None,
        near: QueryPosition | None = None,
        closer: Embedding | None = None,
    ) -> Ranking | tuple[Match, ...]:
        """Return what `rank` returns, or where that is None, what `search` returns.

        `closer` is a second look: a picture or label is as similar as in the better one.
        """
        return self._ask(lambda now: self._memory.find(now, embedding, k, labels, near, closer))

    def calibration(self) -> Calibration | None:
        """Return how similar strangers and known things are; None if there are no features."""
        return self._ask(lambda _: self._memory.calibration)

    def advise(self, options: AdviceOptions | None = None) -> Advice:
        """Return what to photograph next, and what is probably wrong."""
        memory, chosen = self._memory, options or AdviceOptions()

        def advice(snapshot: Snapshot) -> Advice:
            with translated(self.path):
                return advise(self._connection, snapshot, memory.index, memory.calibration, chosen)

        return self._ask(advice)

    def within(
        self, code: Code, radius: int, *, labels: Collection[str] | None = None
    ) -> tuple[Match, ...]:
        """Return all enrolled codes within `radius` bits of `code`, nearest first, ties by id.

        Unlike in `search`, each code of a picture is a match of its own.
        """
        return self._ask(
            lambda snapshot: query.within(snapshot, code, radius, query.label_ids(snapshot, labels))
        )

    def sources(self, ids: Sequence[int]) -> dict[int, str]:
        """Return the source of each code in `ids`, without those that have been removed."""
        marks = ", ".join("?" * len(ids))
        with translated(self.path):
            rows = self._connection.execute(
                f"SELECT id, source FROM item WHERE id IN ({marks})", list(ids)
            )
            # Earlier versions stored secrets of a camera's address.
            return {item_id: redact(source) for item_id, source in rows}

    def content(self) -> Content:
        """Return the whole content, of one generation; raises `GalleryDamagedError`."""
        with translated(self.path), transaction(self._connection, "DEFERRED"):
            return read_content(self._connection, self.path, self._meta)
