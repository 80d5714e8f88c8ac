"""Normal numbers: to the bit those of a third implementation in plain Python, and of the law they are drawn from."""

import hashlib
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lwidgets.normals import _philox, _quantiles, _tables, normals

GOLDEN = json.loads((Path(__file__).parent / "normals.json").read_text())  # js/test/normals.test.ts reads it, too

MASK = 2**64 - 1


def philox(key, counter):
    """Philox4x64-10 as the paper has it: words lowest first, in integers without bounds."""
    key, counter = list(key), list(counter)
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [(second >> 64) ^ counter[1] ^ key[0], second & MASK, (first >> 64) ^ counter[3] ^ key[1]]
        counter += [first & MASK]
        key = [(key[0] + 0x9E3779B97F4A7C15) & MASK, (key[1] + 0xBB67AE8584CAA73B) & MASK]
    return counter


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def plain_tables():
    """A loop for every part; float64 throughout, float32 last."""
    profile, step, upper = 0.3989422804014327, 2.0**-19, []
    slope = 0.5 * step / profile
    for part in range(32768):
        before = profile
        for _ in range(8):
            profile = profile - step * slope
            slope = slope + step / profile
        upper.append((before - (0.0 if part == 32767 else profile)) * 65536.0)
    q = [-mean for mean in reversed(upper)] + upper
    return [float32(20 / 29 * mean) for mean in q], [float32(21 / 29 * mean) for mean in q]


@pytest.fixture(scope="module")
def plain():
    """The third implementation: bytes, integers and one float at a time."""
    first, second = plain_tables()

    def numbers(seed, name, count, draw=0):
        sign, digits = ("-", hex(-seed)[2:]) if seed < 0 else ("", hex(seed)[2:])
        text = (sign + digits).encode() + b"\0" + name.encode() + b"\1"
        text += bytes(-len(text) % 32)
        key = [0, 0]
        for start in range(0, len(text), 32):
            key = philox(key, struct.unpack("<4Q", text[start : start + 32]))[:2]
        drawn = []
        for block in range(-(-count // 8)):
            parts = struct.unpack("<16H", struct.pack("<4Q", *philox(key, [block, draw, 0, 0])))
            drawn += [float32(first[i] + second[j]) for i, j in zip(parts[::2], parts[1::2], strict=True)]
        return np.array(drawn[:count], dtype=np.float32)

    return numbers


def sha(*arrays):
    return hashlib.sha256(b"".join(a.astype("<f4").tobytes() for a in arrays)).hexdigest()


KNOWN = {  # the paper's own answers, kat_vectors of its Random123
    (0, 0): "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
    (2**128 - 1, 2**256 - 1): "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
    (
        0xBE5466CF34E90C6C452821E638D01377,
        0x082EFA98EC4E6C89A4093822299F31D013198A2E03707344243F6A8885A308D3,
    ): "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
}


@pytest.mark.parametrize(("key", "counter"), KNOWN)
def test_the_bits_are_those_of_the_paper(key, counter):
    expected = [int(word, 16) for word in KNOWN[key, counter].split()]
    assert _philox(key, counter).random_raw(4).tolist() == expected
    words = [[(number >> 64 * k) & MASK for k in range(size)] for number, size in ((key, 2), (counter, 4))]
    assert philox(*words) == expected


def test_the_stream_goes_on_with_the_next_counter_and_carries():
    for counter in (0, 7, 2**64 - 2, (5 << 64) - 1):
        words = [[(c >> 64 * k) & MASK for k in range(4)] for c in range(counter, counter + 3)]
        assert _philox(9, counter).random_raw(12).tolist() == [w for c in words for w in philox([9, 0], c)]


def test_the_tables_are_what_they_were_and_what_a_plain_loop_makes():
    assert sha(*_tables()) == GOLDEN["tables"]
    for table, expected in zip(_tables(), plain_tables(), strict=True):
        assert table.tolist() == expected


def test_the_quantiles_are_the_means_of_equal_parts_of_the_normal_law():
    edges = stats.norm.isf(0.5 - np.arange(32769) / 65536)
    means = -np.diff(stats.norm.pdf(edges)) * 65536
    error = np.abs(_quantiles() - means)
    assert error[:-100].max() < 5e-8
    assert error[:-10].max() < 4e-6
    assert error.max() < 4e-4
    np.testing.assert_allclose(_quantiles()[-1], stats.norm.expect(lambda x: x, lb=edges[-2], conditional=True), 1e-4)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['seed']:.9} {c['name']:.20} {c['draw']}")
def test_numbers_are_what_they_were_and_what_plain_python_makes(case, plain):
    seed, name, count, draw = int(case["seed"]), case["name"], case["count"], case["draw"]
    drawn = normals(seed, name, count, draw)
    assert drawn.dtype == np.float32
    assert drawn.shape == (count,)
    assert sha(drawn) == case["sha256"]
    begin = min(count, 600)
    assert drawn[:begin].tolist() == plain(seed, name, begin, draw).tolist()


def thousand(k):
    """Case k of a thousand, as js/test/normals.test.ts has them: seed, name, shape, draw."""
    seed = (-1) ** k * (k * 2654435761) ** (1 + k % 7)
    name = ["weight", f"layers.{k}.self_attn.in_proj_weight", f"größe.{k}.权重", "a" * (k % 70)][k % 4]
    return seed, name, (k % 7, 1 + k % 13, 1 + k % 3), k % 3


def test_a_thousand_streams_are_what_they_were(plain):
    drawn = [normals(seed, name, math.prod(shape), draw) for seed, name, shape, draw in map(thousand, range(1000))]
    assert sha(*drawn) == GOLDEN["thousand"]
    for k in range(0, 1000, 9):
        seed, name, shape, draw = thousand(k)
        assert drawn[k].tolist() == plain(seed, name, math.prod(shape), draw).tolist()
    beginnings = {d[:2].tobytes() for d in (normals(*thousand(k)[:2], 2, thousand(k)[3]) for k in range(1, 1000))}
    assert len(beginnings) == 999


@pytest.mark.parametrize("count", [1, 7, 8, 16383, 16384, 16385, 40001])
def test_a_longer_stream_begins_with_the_shorter_one(count):
    longest = normals(3, "w", 50_000)
    assert normals(3, "w", count).tolist() == longest[:count].tolist()


def test_streams_differ_by_sign_separator_and_length_of_what_they_are_drawn_from():
    alike = [(1, "2"), (12, ""), (-1, "2"), (1, "\x002"), (1, "2\x01"), (1, "2\0"), (0, "2"), (-(2**70), "2")]
    alike += [(1, "a" * n) for n in (29, 30, 31, 32, 33, 61, 62, 63)]
    assert len({normals(seed, name, 4).tobytes() for seed, name in alike}) == len(alike)
    assert normals(np.int64(12), "w", 3).tolist() == normals(12, "w", 3).tolist()
    assert normals(10**6000, "w", 3).any()  # a seed of any size


@pytest.mark.parametrize("draw", [-1, 2**64])
def test_a_draw_that_is_none_is_refused(draw):
    with pytest.raises(ValueError, match=r"draw must be at least 0 and less than 2\*\*64, got .*The first is 0"):
        normals(0, "w", 3, draw)
    assert normals(0, "w", 3, 0).any()
    with pytest.raises(TypeError, match="integer"):
        normals(0.5, "w", 3)


def test_the_law_is_the_normal_one_as_exactly_as_is_said():
    first, second = (table.astype(np.float64) for table in _tables())
    at = np.concatenate([np.linspace(-6.3, 6.3, 127), [1e-9, 0.3141, 1.2345]])
    below = np.array([np.searchsorted(second, x - first, side="right").mean() / 65536 for x in at])
    assert np.abs(below - stats.norm.cdf(at)).max() < 2e-7
    for x, share in ((3, 1.0), (4, 0.995), (5, 0.9)):
        tail = np.searchsorted(second, -x - first, side="right").mean() / 65536
        assert tail / stats.norm.sf(x) == pytest.approx(share, abs=2e-3 if x < 5 else 1e-2)
    square, fourth = ([(table**power).mean() for table in (first, second)] for power in (2, 4))
    variance = sum(square)
    assert variance - 1 == pytest.approx(-1.5e-6, abs=1e-7)
    assert (sum(fourth) + 6 * math.prod(square)) / variance**2 - 3 == pytest.approx(-8.4e-5, abs=1e-6)
    assert first.mean() == second.mean() == 0
    assert (first == -first[::-1]).all()
    assert (second == -second[::-1]).all()
    assert first[-1] + second[-1] == pytest.approx(6.2035, abs=5e-5)


SIZE = 500_000


@pytest.mark.parametrize("seed", range(5))
def test_half_a_million_numbers_cannot_be_told_from_normal_ones(seed):
    drawn = normals(seed, "weight", SIZE).astype(np.float64)
    for moment, (mean, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}.items():
        assert abs((drawn**moment).mean() - mean) < 4.5 * math.sqrt(variance / SIZE)
    steps = np.arange(SIZE + 1) / SIZE
    law = stats.norm.cdf(np.sort(drawn))
    assert max((law - steps[:-1]).max(), (steps[1:] - law).max()) < 1.95 / math.sqrt(SIZE)  # one in a thousand
    for lag in (1, 2, 3, 4, 7, 8, 16384):
        assert abs((drawn[lag:] * drawn[:-lag]).mean()) < 4.5 / math.sqrt(SIZE)
        assert abs((drawn[lag:] ** 2 * drawn[:-lag] ** 2).mean() - 1) < 4.5 * math.sqrt(8 / SIZE)


NEIGHBOURS = {
    "seeds": lambda k: normals(k, "weight", 2000),
    "negative seeds": lambda k: normals(-k, "weight", 2000),
    "bits of a seed": lambda k: normals(1 << k, "weight", 2000),
    "names": lambda k: normals(0, f"layers.{k}.weight", 2000),
    "long names": lambda k: normals(0, f"transformer.encoder.layers.{k}.self_attn.in_proj.weight", 2000),
    "draws": lambda k: normals(0, "weight", 2000, k),
}


@pytest.mark.parametrize("kind", NEIGHBOURS)
def test_a_thousand_neighbouring_streams_are_not_correlated(kind):
    streams = np.stack([NEIGHBOURS[kind](k) for k in range(1000)]).astype(np.float64)
    for values in (streams, streams**2 - 1):
        correlations = np.corrcoef(values)[np.triu_indices(1000, 1)] * math.sqrt(values.shape[1])
        assert abs(correlations.mean()) < 4.5 / math.sqrt(len(correlations))
        assert abs((correlations**2).mean() - 1) < 4.5 * math.sqrt(2 / len(correlations))
        assert np.abs(correlations).max() < 7.5  # of half a million, and squares have heavier tails
    means = streams.mean(axis=1) * math.sqrt(streams.shape[1])
    assert stats.kstest(means, "norm").pvalue > 1e-4
