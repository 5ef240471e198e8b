"""Exact search among 10,000 to a million voiceprints: each way side by side, in one run, and whether it is exact.

    python benchmarks/search.py [--numbers 10000 100000 1000000] [--queries 200] [--threads 2] [--count 10] [--busy 0]
        [--kinds random speakers]

Embeddings have 192 values. Those of `random` are random directions; those of `speakers` are ten recordings each of as
many speakers as that makes, in a space where some directions vary ten times as much as others, so that many scores lie
close together. Half of the queries are further recordings of speakers that are there, half are of nobody.

Ways take turns, query by query; what else the machine does meets all of them. CPU is the time of all threads, in the
mean. A way is exact for a query if it gives the same neighbours in the same order as all cosines in float64. usearch is
measured where it is installed, and int8 where onnx is. `int8` compares in 7 bits by onnxruntime's MatMulInteger (8 bits
overflow on processors without VNNI), and then in float64 all that the bound of its rounding lets be among the nearest.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from sound_groove.provenance import machine, processor
from sound_groove.telemetry import import_onnxruntime
from sound_groove.types import Embeddings
from sound_groove.voiceprints.search import VoiceprintIndex

SIZE, PART, BATCH = 192, 100_000, 8
LIMIT_MS = 50.0

Rows = NDArray[np.intp]


class Way(NamedTuple):
    """A way to search.

    Attributes:
        search: rows (count,) of the nearest to a query (D,), best first.
        bytes: what it holds for an embedding.
        threads: that BLAS may use meanwhile; None where the way does not use BLAS.
        answers: queries that one call answers.
    """

    search: Callable[[Embeddings], Rows]
    bytes: float
    threads: int | None = None
    answers: int = 1


def main() -> None:
    """Measure every way at every number of embeddings and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--count", type=int, default=10, help="neighbours to find")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of embeddings")
    parser.add_argument("--busy", type=int, default=0, help="other programs that compute meanwhile")
    arguments = parser.parse_args()
    about = machine(arguments.threads)
    print(f"{processor()}, {arguments.threads} threads of {about['cpus']} cores, numpy {np.__version__}")
    print(f"commit {about['git_commit']}; {SIZE} values, the {arguments.count} nearest, {arguments.queries} queries")
    print(f"beside {arguments.busy} busy programs of ours")
    for number in arguments.numbers:
        for kind in arguments.kinds:
            rows, queries = KINDS[kind](number, arguments.queries)
            ways = dict(all_ways(rows, arguments.count, arguments.threads))
            true = nearest_in_float64(rows, queries, arguments.count)
            with busy_programs(arguments.busy):
                measured = measure(ways, queries, true)
            report(number, kind, ways, *measured)
            del ways, rows


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    """Let programs of one thread each compute inside the block."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(100_000))"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def unit(rows: NDArray[np.float32]) -> Embeddings:
    """Rows scaled to unit length in place."""
    for start in range(0, len(rows), PART):
        rows[start : start + PART] /= np.linalg.norm(rows[start : start + PART], axis=1, keepdims=True)
    return rows


def random_directions(number: int, queries: int) -> tuple[Embeddings, Embeddings]:
    """Embeddings (number, D) and queries, half of them close to one of the embeddings."""
    generator = np.random.default_rng(0)
    rows = unit(generator.standard_normal((number, SIZE), dtype=np.float32))
    asked = generator.standard_normal((queries, SIZE), dtype=np.float32) / np.float32(np.sqrt(SIZE))
    asked[::2] += rows[generator.integers(0, number, len(asked[::2]))]
    return rows, unit(asked)


def recordings(number: int, queries: int) -> tuple[Embeddings, Embeddings]:
    """Embeddings (number, D) of speakers with ten recordings each, and queries of them and of others."""
    generator = np.random.default_rng(1)
    spread = np.geomspace(1.0, 0.1, SIZE).astype(np.float32)
    speakers = generator.standard_normal((-(-number // 10) + queries, SIZE), dtype=np.float32)
    rows = np.repeat(speakers[: -(-number // 10)], 10, axis=0)[:number]
    for start in range(0, number, PART):
        part = rows[start : start + PART]
        part += 0.7 * generator.standard_normal(part.shape, dtype=np.float32)
        part *= spread
    asked = speakers[-queries:]
    asked[::2] = speakers[generator.integers(0, number // 10, len(asked[::2]))]
    asked = (asked + 0.7 * generator.standard_normal(asked.shape, dtype=np.float32)) * spread
    return unit(rows), unit(asked)


KINDS = {"random": random_directions, "speakers": recordings}


def all_ways(rows: Embeddings, count: int, threads: int) -> Iterator[tuple[str, Way]]:
    """Every way there is, by name."""
    numbers = 4.0 * SIZE
    for used in sorted({1, threads}):
        index = VoiceprintIndex(SIZE, used)
        for start in range(0, len(rows), PART):
            # Keys of 32 letters in the order of the rows
            index.put_all(
                [f"{row:032x}" for row in range(start, min(start + PART, len(rows)))], rows[start : start + PART]
            )
        yield (
            f"**the index**, {used} thread{'s' * (used > 1)}",
            Way(in_index(index, count), index.memory_bytes / len(rows)),
        )
    for used in sorted({1, threads}):
        way = Way(lambda query: highest(rows @ query, count), numbers, used)
        yield f"numpy, matrix product, {used} thread{'s' * (used > 1)}", way
    yield f"numpy, matrix product in {threads} parts", Way(in_parts(rows, count, threads), numbers, 1)
    yield f"numpy, {BATCH} queries at once, {threads} threads", Way(in_batches(rows, count), numbers, threads, BATCH)
    if find_spec("usearch"):
        for name, values in (("float32", rows), ("float16", as_type(rows, "float16")), ("int8", as_type(rows, "int8"))):
            yield (
                f"usearch, exact, {name}, {threads} threads",
                Way(by_usearch(values, count, threads), values.nbytes / len(rows)),
            )
    if find_spec("onnx"):
        yield "int8, then float64 for those in reach", Way(by_int8(rows, count), numbers + SIZE + 8)


def highest(scores: NDArray[np.floating], count: int) -> Rows:
    """Rows of the highest scores, best first."""
    rows = np.argpartition(scores, len(scores) - count)[len(scores) - count :]
    return np.asarray(rows[np.argsort(-scores[rows], kind="stable")])


def in_index(index: VoiceprintIndex, count: int) -> Callable[[Embeddings], Rows]:
    """By what is in the package."""
    return lambda query: np.array([int(key, 16) for key in index.nearest(query, count).keys])


def in_parts(rows: Embeddings, count: int, threads: int) -> Callable[[Embeddings], Rows]:
    """A matrix product for each thread."""
    scores = np.empty(len(rows), dtype=np.float32)
    edges = np.linspace(0, len(rows), threads + 1).astype(int).tolist()
    parts = [slice(start, stop) for start, stop in pairwise(edges)]
    pool = ThreadPoolExecutor(threads)

    def search(query: Embeddings) -> Rows:
        list(pool.map(lambda part: np.matmul(rows[part], query, out=scores[part]), parts))
        return highest(scores, count)

    return search


def in_batches(rows: Embeddings, count: int) -> Callable[[Embeddings], Rows]:
    """As many queries as BATCH in one product of matrices; the query stands in for all of them."""
    scores = np.empty((BATCH, len(rows)), dtype=np.float32)

    def search(query: Embeddings) -> Rows:
        np.matmul(np.tile(query, (BATCH, 1)), rows.T, out=scores)
        answers = [highest(one, count) for one in scores]
        return answers[0]

    return search


def as_type(rows: Embeddings, name: str) -> NDArray[Any]:
    """Rows as float16, or as int8 of one scale for all."""
    if name == "float16":
        return rows.astype(np.float16)
    values = np.empty(rows.shape, dtype=np.int8)
    for start in range(0, len(rows), PART):
        values[start : start + PART] = np.rint(rows[start : start + PART] * 127)
    return values


def by_usearch(values: NDArray[Any], count: int, threads: int) -> Callable[[Embeddings], Rows]:
    """usearch's exact search, without an index of its own."""
    import_onnxruntime()  # usearch 2.26 makes it crash when it is loaded afterwards
    from usearch.index import MetricKind, search

    def find(query: Embeddings) -> Rows:
        asked = np.rint(query * 127).astype(np.int8) if values.dtype == np.int8 else query.astype(values.dtype)
        return np.asarray(search(values, asked, count, MetricKind.IP, exact=True, threads=threads).keys, dtype=np.intp)

    return find


def by_int8(rows: Embeddings, count: int) -> Callable[[Embeddings], Rows]:
    """Integers first, then float64 for what may be among the nearest.

    With x = s a + r and q = t b + p, where a and b are integers, x q lies within |r| + |s a| |p| of s t a b.
    """
    scales = (np.abs(rows).max(axis=1) / 63).astype(np.float32)
    integers, rests = np.empty((SIZE, len(rows)), dtype=np.int8), np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), PART):
        part = slice(start, start + PART)
        rounded = np.rint(rows[part] / scales[part, np.newaxis])
        integers[:, part] = rounded.T
        rests[part] = np.linalg.norm(rows[part] - rounded * scales[part, np.newaxis], axis=1) + 1e-5
    session, groups, most = integer_products(), len(rows) // 64, float(rests.max())

    def search(query: Embeddings) -> Rows:
        scale = float(np.abs(query).max()) / 127
        rounded = np.rint(query / scale)
        rest = float(np.linalg.norm(query - rounded * scale)) + 1e-5
        products = session.run(None, {"a": (rounded + 128).astype(np.uint8)[np.newaxis], "b": integers})[0][0]
        scores = products * (scales * np.float32(scale))
        error = most * (1 + rest) + rest
        # As in the index: the count-th highest of the groups' highest scores is one that `count` scores reach.
        tops = scores[: 64 * groups].reshape(64, groups).max(axis=0)
        reached = np.partition(tops, groups - count)[groups - count] - error
        near = np.flatnonzero(scores >= reached - error)
        return np.asarray(near[highest(rows[near].astype(np.float64) @ query.astype(np.float64), count)])

    return search


def integer_products() -> Any:
    """A session of onnxruntime that multiplies (1, D) of uint8 around 128 with (D, N) of int8, in one thread."""
    from onnx import TensorProto, helper

    sides = [("a", TensorProto.UINT8), ("b", TensorProto.INT8)]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b", "zero"], ["y"])],
        "products",
        [helper.make_tensor_value_info(name, kind, [None, None]) for name, kind in sides],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [None, None])],
        [helper.make_tensor("zero", TensorProto.UINT8, [], [128])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def nearest_in_float64(rows: Embeddings, queries: Embeddings, count: int) -> NDArray[np.intp]:
    """The true neighbours (queries, count), by all cosines in float64."""
    scores = np.empty((len(queries), len(rows)))
    for start in range(0, len(rows), PART):
        scores[:, start : start + PART] = queries.astype(np.float64) @ rows[start : start + PART].T.astype(np.float64)
    return np.array([highest(one, count) for one in scores])


def measure(
    ways: dict[str, Way], queries: Embeddings, true: NDArray[np.intp]
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, int]]:
    """Milliseconds of each way by the clock and of CPU, one pair for each query, and how often it was exact."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    right = dict.fromkeys(ways, 0)
    for query, expected in zip(queries, true, strict=True):
        for name, way in ways.items():
            with threadpool_limits(way.threads) if way.threads else nullcontext():
                clock, cpu = time.perf_counter(), time.process_time()
                found = way.search(query)
                passed = time.perf_counter() - clock, time.process_time() - cpu
            times[name].append((1000 * passed[0] / way.answers, 1000 * passed[1] / way.answers))
            right[name] += found.tolist() == expected.tolist()
    return times, right


def report(
    number: int, kind: str, ways: dict[str, Way], times: dict[str, list[tuple[float, float]]], right: dict[str, int]
) -> None:
    """Print one table."""
    print(f"\n{number:,} embeddings, {kind}\n")
    print("| way | median ms | p99 ms | CPU ms | bytes each | exact |\n| --- | --- | --- | --- | --- | --- |")
    for name, way in ways.items():
        clock, cpu = np.array(times[name]).T
        exact = f"{right[name]} of {len(clock)}"
        print(
            f"| {name} | {np.median(clock):.1f} | {np.percentile(clock, 99):.1f} | {cpu.mean():.1f} "
            f"| {way.bytes:,.0f} | {exact} |"
        )
    ours = [name for name in ways if "index" in name][-1]
    within = np.mean(np.array(times[ours])[:, 0] < LIMIT_MS)
    print(
        f"\nThe index ({ours.split(', ')[1]}) took less than {LIMIT_MS:g} ms for {100 * within:.1f} % of the queries."
    )


if __name__ == "__main__":
    main()
