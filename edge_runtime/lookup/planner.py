"""Scan or index? Decided by what each has cost on this gallery, on this machine.

A scan needs no preparation, and nothing beats it for small galleries or few queries. An index of
millions of codes takes seconds to build and hundreds of megabytes. So: scan, and add up the time;
when the scans have cost what an index would, build one on a thread of its own; try it on the
queries that came meanwhile; keep it only if it is faster. (The ski rental rule: whatever comes,
this costs at most about twice what the better of the two would have.)

A query that the index does not answer within a share of the scan's cost is scanned after all. How
many candidates that share is worth is measured on the trial, and put right whenever a query that
failed took longer: one that is like nothing here finds less in the caches.

Codes that have been added since lie behind those in the index, and are scanned; when they are
many, the index is built anew.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from time import perf_counter_ns

from edge_runtime.lookup.by_numpy import Answer
from edge_runtime.lookup.multi_index import CLEARLY_FEWER, MultiIndex
from edge_runtime.lookup.row_filter import ALL, RowFilter
from edge_runtime.lookup.scan import PackedBytes, collect, merged, scan

log = logging.getLogger(__name__)

INDEX_FROM = 200_000
"""Codes below which an index is never considered: a scan of them takes 20 microseconds."""
BUILD_NS_A_CODE = 200
"""About what building costs (60 to 300); it decides when to begin, not what is kept."""
BOUND = 0.07
"""The share of a scan's time after which a search in the index is given up: with all that is about
it, a query that the index fails takes less than 1.2 of a scan's time."""
MARGIN = 1.5
"""Of candidates, over the most that any query of the trial needed, where it answered them all."""
WORTH = 0.8
"""The index is kept if it takes less than this share of the scan's time."""
TRIAL = 16
"""The latest queries, on which it is tried."""
MOST_TAIL = 0.25
"""Codes that are not in the index yet, as a share of those that are: beyond, it is built anew."""
MOST_MEMORY = 0.25
"""Of the memory that is free, what an index may take."""


class Planner:
    """Answers searches of one growing set of codes. Its searches may come from several threads."""

    def __init__(self, bits: int, kernel: str, may_index: bool = True) -> None:
        self._bits = bits
        self._may_index = may_index
        self._kernel = kernel
        self._spent_ns = 0
        self._recent: deque[tuple[PackedBytes, int]] = deque(maxlen=TRIAL)
        self._refused_below = 0  # codes: with fewer, an index has been tried in vain
        self._index: MultiIndex | None = None
        self._work = 0
        self._builder: threading.Thread | None = None

    @property
    def index(self) -> MultiIndex | None:
        """What answers now; None: the scan."""
        return self._index

    def nearest(
        self, rows: PackedBytes, query: PackedBytes, k: int, row_filter: RowFilter
    ) -> Answer:
        """`Lookup.nearest` over `rows` [n, bytes], 1 <= k <= n."""
        index = self._index
        if not self._may_index:
            return self._scan(rows, query, k, row_filter)
        if index is None:
            began = perf_counter_ns()
            answer = self._scan(rows, query, k, row_filter)
            self._spent_ns += perf_counter_ns() - began
            self._recent.append((query, k))
            if self._spent_ns > BUILD_NS_A_CODE * len(rows):
                self._consider(rows)
            return answer
        if len(rows) - index.count > MOST_TAIL * index.count:
            self._consider(rows)
        return self._by_index(index, rows, query, k, row_filter, self._work)

    def within(
        self, rows: PackedBytes, query: PackedBytes, radius: int, row_filter: RowFilter
    ) -> Answer:
        """`Lookup.within` over `rows` [n, bytes]."""
        index = self._index
        if index is not None:
            known = row_filter if row_filter is ALL else row_filter.rows(0, index.count)
            found = index.within(query, radius, known, self._work)
            if found is not None:
                tail = row_filter if row_filter is ALL else row_filter.rows(index.count, len(rows))
                late = collect(rows[index.count :], self._bits, query, radius, tail, self._kernel)
                return merged(found, (late[0] + index.count, late[1]))
        return collect(rows, self._bits, query, radius, row_filter, self._kernel)

    def build(self, rows: PackedBytes) -> None:
        """Build and try an index over `rows` now, in this thread, whatever it costs."""
        self._build(rows)

    # -- inside -------------------------------------------------------------------------------

    def _scan(self, rows: PackedBytes, query: PackedBytes, k: int, row_filter: RowFilter) -> Answer:
        return scan(rows, self._bits, query, k, row_filter, self._kernel)

    def _by_index(
        self,
        index: MultiIndex,
        rows: PackedBytes,
        query: PackedBytes,
        k: int,
        row_filter: RowFilter,
        work: int,
    ) -> Answer:
        count = index.count
        known = row_filter if row_filter is ALL else row_filter.rows(0, count)
        began = perf_counter_ns()
        answer, _ = index.nearest(query, min(k, count), known, self._kernel, work)
        if answer is None:
            if index.distinct > CLEARLY_FEWER * count:
                failed = perf_counter_ns()
                found = self._scan(rows, query, k, row_filter)
                if failed - began > 2 * BOUND * (perf_counter_ns() - failed):
                    self._work = max(work // 2, 1)
                return found
            answer, _ = index.nearest(query, min(k, count), known, self._kernel, 0)
            assert answer is not None
        if len(rows) == count:
            return answer
        tail = row_filter if row_filter is ALL else row_filter.rows(count, len(rows))
        late = self._scan(rows[count:], query, min(k, len(rows) - count), tail)
        return merged(answer, (late[0] + count, late[1]), k)

    def _consider(self, rows: PackedBytes) -> None:
        """Begin to build, unless that is under way or was in vain."""
        if len(rows) < self._refused_below or self._builder is not None:
            return
        self._builder = threading.Thread(
            target=self._build, args=(rows,), name="multi-index", daemon=True
        )
        self._builder.start()

    def _build(self, rows: PackedBytes) -> None:
        try:
            self._refused_below = 2 * len(rows)  # unless it proves worth keeping
            count = len(rows) // 64 * 64  # so that the bits of `RowFilter.alive` can be cut there
            if not count or not _fits(count, self._bits):
                log.info("no index of %d codes: too little memory is free", count)
                return
            index = MultiIndex(rows[:count], self._bits)
            share = self._try(index, rows[:count])
            if share < WORTH:
                self._index = index
                self._refused_below = 0
            verdict = "kept" if share < WORTH else "not kept"
            log.info("an index of %d codes takes %.2f of a scan's time: %s", count, share, verdict)
        except MemoryError:
            log.info("no index: the memory did not suffice")
        finally:
            self._spent_ns = 0
            self._builder = None

    def _try(self, index: MultiIndex, rows: PackedBytes) -> float:
        """What a search in `index` takes, as a share of a scan; sets the bound of such a search."""
        latest = tuple(self._recent)  # which others may append to meanwhile
        queries = [(query, k) for query, k in latest if k <= len(rows)]
        if not queries:
            spread = rows[:: -(-len(rows) // TRIAL)]
            queries = [(query, min(10, len(rows))) for query in spread]
        scan_ns = []
        for query, k in queries:
            began = perf_counter_ns()
            self._scan(rows, query, k, ALL)
            scan_ns.append(perf_counter_ns() - began)
        fastest = min(scan_ns)
        began, needed, answered = perf_counter_ns(), [], True
        for query, k in queries:
            # A candidate takes about a nanosecond; this bound only keeps the trial short.
            answer, done = index.nearest(query, k, ALL, self._kernel, max(fastest, 1000))
            needed.append(done)
            answered = answered and answer is not None
        rate = sum(needed) / (perf_counter_ns() - began)
        self._work = max(int(BOUND * fastest * rate), 1)
        if answered:  # then a failure is not to be expected, and the dearest answer is worth more
            self._work = max(self._work, int(MARGIN * max(needed)))
        shares = []
        for query, k in queries:  # in turn, since the machine does not always go at one pace
            began = perf_counter_ns()
            self._scan(rows, query, k, ALL)
            between = perf_counter_ns()
            self._by_index(index, rows, query, k, ALL, self._work)
            shares.append((perf_counter_ns() - between) / (between - began))
        return sorted(shares)[len(shares) // 2]


def _fits(count: int, bits: int) -> bool:
    import psutil

    words = -(-bits // 64)
    parts = max(1, round(bits / 20))
    most = count * (4 + (8 * words + 4) * (parts + 2)) + parts * (4 << 22)
    return bool(most < MOST_MEMORY * psutil.virtual_memory().available)
