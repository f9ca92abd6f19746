"""What every peer is started with: a case (JSON), the weights of a model, and requests on stdin.

Needs nothing beyond Python; arrays come from numpy where it is there.
"""
import json
import struct
import sys
import time


def load_case():
    """The case that this process was started with, and the configuration of its model."""
    with open(sys.argv[1], encoding="utf-8") as file:
        case = json.load(file)
    with open(f"{case['model']}/config.json", encoding="utf-8") as file:
        return case, json.load(file)


def safetensors_entries(path):
    """(name, shape, bytes) of each tensor, all float32. The format: header length (uint64), a JSON header, data."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}; only F32 is read here")
        begin, end = entry["data_offsets"]
        yield name, entry["shape"], memoryview(data)[begin:end]


def read_safetensors(path):
    """Name -> float32 numpy array."""
    import numpy

    return {
        name: numpy.frombuffer(data, dtype=numpy.float32).reshape(shape).copy()
        for name, shape, data in safetensors_entries(path)
    }


def answer(handlers):
    """One JSON request on each line of stdin, one JSON reply on a line of stdout."""
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(handlers[request["do"]](request)), flush=True)


def timed(work):
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
