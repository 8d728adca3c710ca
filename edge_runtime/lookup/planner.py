"""Query planner: chooses between scan and index by their measured cost on this gallery and machine.

A scan needs no preparation and is best for small galleries or few queries. An index of millions of
codes takes seconds to build and hundreds of megabytes. The planner therefore scans and adds up the
time. When the scans have cost as much as building an index would, it builds one on a separate
thread, benchmarks it with recent queries, and uses it only if it is faster. By the ski-rental
argument, the total cost is at most about twice that of the better choice.

A query that the index does not answer within a share of the scan's time is scanned. The benchmark
converts this share into a number of candidates. If a failed query takes longer, the number is
halved: a query that resembles no stored code causes more cache misses.

Codes added since the index was built are scanned. When they are many, the index is rebuilt.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from time import perf_counter_ns

from edge_runtime.lookup.by_numpy import SearchResult
from edge_runtime.lookup.multi_index import FEW_DISTINCT, MultiIndex
from edge_runtime.lookup.row_filter import ALL, RowFilter
from edge_runtime.lookup.scan import PackedBytes, collect, merge_results, scan

log = logging.getLogger(__name__)

INDEX_FROM = 200_000
"""With fewer codes, no index is built: scanning them takes 20 microseconds."""
BUILD_NS_PER_CODE = 200
"""Approximate cost of building (60 to 300). It determines when to build, not what is used."""
MAX_SEARCH_SHARE = 0.07
"""Share of a scan's time after which an index search is abandoned. With all overhead, a query that
the index fails to answer takes less than 1.2x a scan's time."""
WORK_MARGIN = 1.5
"""Factor on the most candidates that a benchmark query needed, if the index answered them all."""
MAX_COST = 0.8
"""The index is used if it takes less than this share of the scan's time."""
TRIAL_QUERIES = 16
"""Number of recent queries used for the benchmark."""
MAX_TAIL = 0.25
"""Codes not yet in the index, as a share of those in it, beyond which it is rebuilt."""
MAX_MEMORY = 0.25
"""Share of the free memory that an index may take."""


class Planner:
    """Answers searches over one growing set of codes. Thread-safe."""

    def __init__(self, bits: int, kernel: str, allow_index: bool = True) -> None:
        self._bits = bits
        self._allow_index = allow_index
        self._kernel = kernel
        self._scan_cost_ns = 0
        self._recent: deque[tuple[PackedBytes, int]] = deque(maxlen=TRIAL_QUERIES)
        self._rejected_below = 0  # an index over fewer codes was rejected
        self._index: MultiIndex | None = None
        self._work = 0
        self._builder: threading.Thread | None = None

    @property
    def index(self) -> MultiIndex | None:
        """The index in use; None if searches scan."""
        return self._index

    def nearest(
        self, rows: PackedBytes, query: PackedBytes, k: int, row_filter: RowFilter
    ) -> SearchResult:
        """Return `Lookup.nearest` over `rows` [n, bytes], 1 <= k <= n."""
        index = self._index
        if not self._allow_index:
            return self._scan(rows, query, k, row_filter)
        if index is None:
            began = perf_counter_ns()
            answer = self._scan(rows, query, k, row_filter)
            self._scan_cost_ns += perf_counter_ns() - began
            self._recent.append((query, k))
            if self._scan_cost_ns > BUILD_NS_PER_CODE * len(rows):
                self._start_building(rows)
            return answer
        if len(rows) - index.count > MAX_TAIL * index.count:
            self._start_building(rows)
        return self._by_index(index, rows, query, k, row_filter, self._work)

    def within(
        self, rows: PackedBytes, query: PackedBytes, radius: int, row_filter: RowFilter
    ) -> SearchResult:
        """Return `Lookup.within` over `rows` [n, bytes]."""
        index = self._index
        if index is not None:
            index_filter = row_filter if row_filter is ALL else row_filter.rows(0, index.count)
            found = index.within(query, radius, index_filter, self._work)
            if found is not None:
                tail_filter = (
                    row_filter if row_filter is ALL else row_filter.rows(index.count, len(rows))
                )
                tail_result = collect(
                    rows[index.count :], self._bits, query, radius, tail_filter, self._kernel
                )
                return merge_results(found, (tail_result[0] + index.count, tail_result[1]))
        return collect(rows, self._bits, query, radius, row_filter, self._kernel)

    def build(self, rows: PackedBytes) -> None:
        """Build and benchmark an index over `rows` now, on this thread."""
        self._build(rows)

    def _scan(
        self, rows: PackedBytes, query: PackedBytes, k: int, row_filter: RowFilter
    ) -> SearchResult:
        return scan(rows, self._bits, query, k, row_filter, self._kernel)

    def _by_index(
        self,
        index: MultiIndex,
        rows: PackedBytes,
        query: PackedBytes,
        k: int,
        row_filter: RowFilter,
        work: int,
    ) -> SearchResult:
        count = index.count
        index_filter = row_filter if row_filter is ALL else row_filter.rows(0, count)
        began = perf_counter_ns()
        answer, _ = index.nearest(query, min(k, count), index_filter, self._kernel, work)
        if answer is None:
            if index.distinct > FEW_DISTINCT * count:
                failed = perf_counter_ns()
                found = self._scan(rows, query, k, row_filter)
                if failed - began > 2 * MAX_SEARCH_SHARE * (perf_counter_ns() - failed):
                    self._work = max(work // 2, 1)
                return found
            answer, _ = index.nearest(query, min(k, count), index_filter, self._kernel, 0)
            assert answer is not None
        if len(rows) == count:
            return answer
        tail_filter = row_filter if row_filter is ALL else row_filter.rows(count, len(rows))
        tail_result = self._scan(rows[count:], query, min(k, len(rows) - count), tail_filter)
        return merge_results(answer, (tail_result[0] + count, tail_result[1]), k)

    def _start_building(self, rows: PackedBytes) -> None:
        """Start building an index unless one is being built or was rejected."""
        if len(rows) < self._rejected_below or self._builder is not None:
            return
        self._builder = threading.Thread(
            target=self._build, args=(rows,), name="multi-index", daemon=True
        )
        self._builder.start()

    def _build(self, rows: PackedBytes) -> None:
        try:
            self._rejected_below = 2 * len(rows)  # unless the index proves faster
            count = len(rows) // 64 * 64  # so that `RowFilter.alive` can be split there
            if not count or not _fits(count, self._bits):
                log.info("no index built for %d codes: too little free memory", count)
                return
            index = MultiIndex(rows[:count], self._bits)
            share = self._benchmark(index, rows[:count])
            if share < MAX_COST:
                self._index = index
                self._rejected_below = 0
            decision = "used" if share < MAX_COST else "not used"
            log.info("index of %d codes: %.2fx the scan's time, %s", count, share, decision)
        except MemoryError:
            log.info("no index built: out of memory")
        finally:
            self._scan_cost_ns = 0
            self._builder = None

    def _benchmark(self, index: MultiIndex, rows: PackedBytes) -> float:
        """Return the time of a search in `index` as a share of a scan; set its work limit."""
        latest = tuple(self._recent)  # other threads may append to it
        queries = [(query, k) for query, k in latest if k <= len(rows)]
        if not queries:
            sample = rows[:: -(-len(rows) // TRIAL_QUERIES)]
            queries = [(query, min(10, len(rows))) for query in sample]
        scan_ns = []
        for query, k in queries:
            began = perf_counter_ns()
            self._scan(rows, query, k, ALL)
            scan_ns.append(perf_counter_ns() - began)
        fastest = min(scan_ns)
        began, needed, answered = perf_counter_ns(), [], True
        for query, k in queries:
            # A candidate takes about a nanosecond; this limit only keeps the benchmark short.
            answer, done = index.nearest(query, k, ALL, self._kernel, max(fastest, 1000))
            needed.append(done)
            answered = answered and answer is not None
        rate = sum(needed) / (perf_counter_ns() - began)
        self._work = max(int(MAX_SEARCH_SHARE * fastest * rate), 1)
        if answered:  # failures are unlikely, so allow for the most expensive query
            self._work = max(self._work, int(WORK_MARGIN * max(needed)))
        shares = []
        for query, k in queries:  # interleaved, because the machine's speed varies
            began = perf_counter_ns()
            self._scan(rows, query, k, ALL)
            between = perf_counter_ns()
            self._by_index(index, rows, query, k, ALL, self._work)
            shares.append((perf_counter_ns() - between) / (between - began))
        return sorted(shares)[len(shares) // 2]


def _fits(count: int, bits: int) -> bool:
    from edge_runtime.system.memory import available_bytes

    words = -(-bits // 64)
    parts = max(1, round(bits / 20))
    most = count * (4 + (8 * words + 4) * (parts + 2)) + parts * (4 << 22)
    return most < MAX_MEMORY * available_bytes()
