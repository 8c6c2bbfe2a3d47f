"""Messages between the grader and an answer's process, as JSON with arrays as bytes; nothing in them is executed."""

from __future__ import annotations

import base64
import json
import math
import secrets
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from tinygrad_lab.learn.answer import Stopped, cut

MOST_BYTES = 16 << 20  # of a message; the largest arrays of the exercises take some 100 kB
MOST_AXES = 32
LOST = 117  # exit status of an answer's process whose connection is lost
DTYPES = frozenset(
    np.dtype(name).str
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
)

Special = Callable[[Any], Any]


class Malformed(Stopped):
    """A message is not valid."""


class Closed(Stopped):
    """The other process has closed the connection."""


class Opaque:
    """A value that cannot be sent; only the name of its type is known."""


def encode(value: Any, special: Special) -> Any:
    """Return plain values for a tree of numbers, texts, tuples, lists, dicts and arrays.

    Parameters
    ----------
    value : object
        The value to send.
    special : callable
        Returns plain values, an array or another tree for other objects.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    if kind is list:
        return [encode(part, special) for part in value]
    if kind is tuple:
        return {"tuple": [encode(part, special) for part in value]}
    if kind is dict:
        return {"dict": [[str(key), encode(part, special)] for key, part in value.items()]}
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        return encode_array(array) if array.dtype.str in DTYPES else {"other": kind.__name__}
    return special(value)


def encode_array(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return an array as plain values, with strides if it is not in C order."""
    data = base64.b64encode(array.tobytes()).decode("ascii")
    plain = {"array": [array.dtype.str, list(array.shape), data], "writable": array.flags.writeable}
    return plain if array.flags.c_contiguous else plain | {"strides": list(array.strides)}


def decode(plain: Any, special: Special) -> Any:
    """Return the value that `encode` was given.

    Parameters
    ----------
    plain : object
        Plain values, from a process that may send anything.
    special : callable
        Returns the value of other dicts.

    Raises
    ------
    Malformed
        The values are not valid.
    """
    if plain is None or isinstance(plain, (bool, int, float, str)):
        return plain
    if isinstance(plain, list):
        return [decode(part, special) for part in plain]
    if not isinstance(plain, dict):
        raise Malformed(f"expected plain values, got {type(plain).__name__}")
    if "array" in plain:
        return decode_array(plain)
    if "tuple" in plain and isinstance(plain["tuple"], list):
        return tuple(decode(part, special) for part in plain["tuple"])
    try:
        if "dict" in plain:
            return {str(key): decode(part, special) for key, part in plain["dict"]}
        if "complex" in plain:
            return complex(*plain["complex"])
        if "other" in plain:
            return type(cut(str(plain["other"]), 60), (Opaque,), {})()
    except (TypeError, ValueError) as error:
        raise Malformed(f"expected plain values, got {cut(str(error), 80)}") from error
    return special(plain)


def decode_array(plain: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return an array from plain values.

    Raises
    ------
    Malformed
        Dtype, shape and number of bytes are not those of an array of numbers.
    """
    try:
        name, shape, text = plain["array"]
        data = bytearray(base64.b64decode(text, validate=True))
    except (TypeError, ValueError) as error:
        raise Malformed(f"expected an array's dtype, shape and bytes, got {cut(str(error), 80)}") from error
    if not isinstance(name, str) or name not in DTYPES:
        raise Malformed("expected an array of numbers")
    sizes = isinstance(shape, list) and len(shape) <= MOST_AXES and all(type(n) is int and n >= 0 for n in shape)
    if not sizes or math.prod(shape) * np.dtype(name).itemsize != len(data):
        raise Malformed("expected as many bytes as an array's shape says")
    array = np.frombuffer(data, name).reshape(shape)
    if "strides" in plain:
        array = laid_out(array, plain["strides"])
    array.flags.writeable = plain.get("writable") is True
    return array


def laid_out(array: np.ndarray[Any, Any], strides: Any) -> np.ndarray[Any, Any]:
    """Return a copy of an array with the given strides in memory, some of which may be negative or 0.

    Raises
    ------
    Malformed
        There is not one integer stride for each axis, or the strides span more bytes than a message may hold.
    """
    if not isinstance(strides, list) or len(strides) != array.ndim or any(type(s) is not int for s in strides):
        raise Malformed("expected one stride for each axis of an array")
    spans = [step * max(0, length - 1) for step, length in zip(strides, array.shape, strict=True)]
    offset = -sum(min(0, span) for span in spans)
    size = offset + sum(max(0, span) for span in spans) + array.itemsize
    if size > MOST_BYTES:
        raise Malformed("expected strides that stay within a message")
    placed: np.ndarray[Any, Any] = np.ndarray(array.shape, array.dtype, bytearray(size), offset, strides)
    placed[...] = array
    return placed


class Peer:
    """One end of the connection. Each side may send requests; while it waits, it answers those of the other.

    Each request carries a random number that its response repeats. Any other message is thus recognized as wrong.

    Parameters
    ----------
    source, sink : binary streams
        The streams of incoming and outgoing messages.
    serve : callable
        ``serve(what, given)`` returns the response to a request as a dict; its exceptions are passed to `explain`.
    explain : callable
        Returns an exception as plain values.
    """

    def __init__(
        self,
        source: BinaryIO,
        sink: BinaryIO,
        serve: Callable[[str, dict[str, Any]], dict[str, Any]],
        explain: Callable[[BaseException], dict[str, Any]],
    ) -> None:
        self.source, self.sink, self.serve, self.explain = source, sink, serve, explain

    def ask(self, what: str, given: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its response.

        Raises
        ------
        Malformed
            The message is not the response.
        Closed
            The connection is closed.
        """
        number = secrets.token_hex(8)
        self.send({"ask": what, "number": number, "given": given})
        while True:
            message = self.receive()
            if "ask" in message:
                self.respond(message)
            elif message.get("number") == number:
                return message
            else:
                raise Malformed("expected the answer to the last question")

    def respond(self, message: dict[str, Any]) -> None:
        """Answer one request."""
        what, given = message["ask"], message.get("given")
        if not isinstance(what, str) or not isinstance(given, dict):
            raise Malformed("expected a question")
        try:
            answer = self.serve(what, given)
        except Stopped:
            raise
        except BaseException as error:  # an answer may raise anything, even SystemExit
            answer = {"error": self.explain(error)}
        self.send(answer | {"number": message.get("number")})

    def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        data = json.dumps(message).encode("ascii")
        if len(data) > MOST_BYTES:
            size = f"{len(data) / 1e6:.0f} MB"
            data = json.dumps({"error": too_large(size), "number": message.get("number")}).encode("ascii")
        try:
            self.sink.write(len(data).to_bytes(4, "big") + data)
            self.sink.flush()
        except (OSError, ValueError) as error:
            raise Closed(str(error)) from error

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        size = int.from_bytes(self.read(4), "big")
        if size > MOST_BYTES:
            raise Malformed(f"expected messages of at most {MOST_BYTES} bytes, got {size}")
        try:
            message = json.loads(self.read(size))
        except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
            raise Malformed(f"expected JSON, got {type(error).__name__}") from error
        if not isinstance(message, dict):
            raise Malformed(f"expected a message, got {type(message).__name__}")
        return message

    def read(self, count: int) -> bytes:
        """Return `count` bytes."""
        try:
            data = self.source.read(count)
        except (OSError, ValueError) as error:
            raise Closed(str(error)) from error
        if len(data) < count:
            raise Closed("the connection has ended")
        return data


def too_large(size: str) -> dict[str, Any]:
    """Return the error for a message that is too large."""
    said = f"a result of {size} is larger than {MOST_BYTES >> 20} MB"
    return {"kinds": ["ValueError"], "root": ["ValueError", said], "text": said, "shown": None, "place": None}
