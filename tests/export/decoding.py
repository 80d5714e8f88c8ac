"""A decoder of companion arrays that shares nothing with the encoder."""

import zlib

import numpy as np


def decoded(specs, data):
    """One array after another, code by code."""
    stream, found, codes_of = zlib.decompress(data), [], []
    at = 0
    for spec in specs:
        count = int(np.prod(spec["shape"]))
        if spec["coding"] in ("q2", "l2"):
            part, at = stream[at : at + 2 * count], at + 2 * count
            steps = [part[k] + 256 * part[count + k] for k in range(count)]
            base = [0] * count if spec["base"] is None else codes_of[spec["base"]]
            codes, last = [], 0
            for k, step in enumerate(steps):
                last = (step + (base[k] if spec["base"] is not None else last)) % 65536
                codes.append(last)
            codes_of.append(codes)
            special = {65533: -np.inf, 65534: np.inf, 65535: np.nan}
            values = [special.get(c, spec["low"] + (spec["high"] - spec["low"]) * c / 65532) for c in codes]
            values = np.exp(values) if spec["coding"] == "l2" else np.array(values)
        else:
            dtype = np.uint8 if spec["coding"] == "u1" else np.dtype("<f4")
            size = count * np.dtype(dtype).itemsize
            values, at = np.frombuffer(stream[at : at + size], dtype), at + size
            codes_of.append(None)
        found.append(np.asarray(values).reshape(spec["shape"]))
    assert at == len(stream)
    return found
