"""The computation of a BERT encoder as an ONNX graph without weights, written in bytes.

ONNX is a protocol buffer of a handful of messages; the numbers below are those of its fields in
``onnx.proto3``. So no ``onnx`` package is needed, no export and no copy of the weights: these come
from the model's own file when a session is made, under the names that they have there.

Inputs: ``ids``, shape (texts, tokens); ``bias``, shape (texts, 1, 1, tokens), added to the scores
of attention, very negative where a text is padded; ``pooling``, shape (texts, 1, tokens), the share
that each token has in its text's vector. Output: ``vectors``, shape (texts, 1, hidden).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sync_pipeline.embedding.bert import BertModel, layer_name

OPSET: Final = 20
"""The first one with Gelu."""
_IR_VERSION: Final = 9
_FLOAT: Final = 1
_INT64: Final = 7
_EXTERNAL: Final = 1
_MORE: Final = 2**7
_ATTRIBUTE_FLOAT: Final = 1
_ATTRIBUTE_INT: Final = 2
_ATTRIBUTE_INTS: Final = 7


def bert_graph(model: BertModel) -> bytes:
    """A serialized ``ModelProto`` for a model's sizes."""
    graph = _Graph()
    graph.node("Shape", ["ids"], "sizes")
    shapes = _Shapes(
        rows=graph.constant("rows", (-1, model.hidden)),
        split=graph.shape("split", (model.heads, model.hidden // model.heads)),
    )
    states = _embedded(graph, model, shapes)
    for layer in map(layer_name, range(model.layers)):
        attended = _attended(graph, model, states, layer=layer, shapes=shapes)
        states = graph.norm(
            graph.node("Add", [states, attended], f"{layer}.attention.sum"),
            f"{layer}.attention.output.LayerNorm",
            model,
        )
        inner = graph.dense(states, f"{layer}.intermediate.dense")
        outer = graph.dense(graph.node("Gelu", [inner], f"{layer}.gelu"), f"{layer}.output.dense")
        states = graph.norm(
            graph.node("Add", [states, outer], f"{layer}.sum"), f"{layer}.output.LayerNorm", model
        )
    by_text = graph.node("Reshape", [states, graph.shape("texts", (model.hidden,))], "states")
    graph.node("MatMul", ["pooling", by_text], "vectors")
    return graph.as_model(model)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shapes:
    """Names of the shapes that states are brought to."""

    rows: str
    """All tokens below each other."""
    split: str
    """By text, token, head."""


def _embedded(graph: _Graph, model: BertModel, shapes: _Shapes) -> str:
    """The first states of all tokens."""
    start, end = graph.constant("start", (0,)), graph.constant("end", (1,))
    length = graph.node("Shape", ["ids"], "length", start=1)
    words = graph.node("Gather", ["embeddings.word_embeddings.weight", "ids"], "words")
    places = graph.node(
        "Slice", ["embeddings.position_embeddings.weight", start, length, start], "places"
    )
    kind = graph.node(
        "Slice", ["embeddings.token_type_embeddings.weight", start, end, start], "kind"
    )
    placed = graph.node("Add", [words, places], "placed")
    states = graph.node("Add", [placed, kind], "embedded")
    rows = graph.node("Reshape", [states, shapes.rows], "embedded.rows")
    return graph.norm(rows, "embeddings.LayerNorm", model)


def _attended(graph: _Graph, model: BertModel, states: str, *, layer: str, shapes: _Shapes) -> str:
    """What each token gathers from the tokens of its text."""
    name = f"{layer}.attention"

    def part(which: str, order: tuple[int, ...]) -> str:
        dense = graph.dense(states, f"{name}.self.{which}")
        split = graph.node("Reshape", [dense, shapes.split], f"{name}.{which}.split")
        return graph.node("Transpose", [split], f"{name}.{which}", perm=order)

    scale = graph.number("scale", (model.hidden // model.heads) ** -0.5)
    query, key = part("query", (0, 2, 1, 3)), part("key", (0, 2, 3, 1))
    product = graph.node("MatMul", [query, key], f"{name}.product")
    scaled = graph.node("Mul", [product, scale], f"{name}.scaled")
    scores = graph.node("Add", [scaled, "bias"], f"{name}.scores")
    shares = graph.node("Softmax", [scores], f"{name}.shares", axis=-1)
    heads = graph.node("MatMul", [shares, part("value", (0, 2, 1, 3))], f"{name}.heads")
    joined = graph.node("Transpose", [heads], f"{name}.joined", perm=(0, 2, 1, 3))
    rows = graph.node("Reshape", [joined, shapes.rows], f"{name}.rows")
    return graph.dense(rows, f"{name}.output.dense")


@dataclass(slots=True)
class _Graph:
    """Nodes and constants so far, serialized."""

    nodes: list[bytes] = field(default_factory=list)
    constants: dict[str, bytes] = field(default_factory=dict)

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        output: str,
        **attributes: float | tuple[int, ...],
    ) -> str:
        """Add an operation; the name of what it gives."""
        self.nodes.append(
            b"".join(
                (
                    *(_text(1, name) for name in inputs),
                    _text(2, output),
                    _text(3, output),
                    _text(4, kind),
                    *(_bytes(5, _attribute(*item)) for item in attributes.items()),
                )
            )
        )
        return output

    def dense(self, states: str, name: str) -> str:
        """Multiply by weights that lie as (out, in), and add a bias."""
        return self.node("Gemm", [states, f"{name}.weight", f"{name}.bias"], name, transB=1)

    def norm(self, states: str, name: str, model: BertModel) -> str:
        """Normalize each token's state."""
        weights = [f"{name}.weight", f"{name}.bias"]
        return self.node(
            "LayerNormalization", [states, *weights], name, axis=-1, epsilon=model.epsilon
        )

    def shape(self, name: str, ends_with: tuple[int, ...]) -> str:
        """Texts and tokens of this pass, and what follows them."""
        end = self.constant(f"{name}.end", ends_with)
        return self.node("Concat", ["sizes", end], name, axis=0)

    def constant(self, name: str, values: tuple[int, ...]) -> str:
        """Whole numbers; the name."""
        raw = struct.pack(f"<{len(values)}q", *values)
        self.constants[name] = _tensor(name, _INT64, (len(values),)) + _bytes(9, raw)
        return name

    def number(self, name: str, value: float) -> str:
        """One float; the name."""
        self.constants[name] = _tensor(name, _FLOAT, ()) + _bytes(9, struct.pack("<f", value))
        return name

    def as_model(self, model: BertModel) -> bytes:
        """The graph with its inputs, its output and the names of its weights."""
        weights = [_external(name, shape) for name, shape in model.weight_shapes().items()]
        inputs = (
            _value("ids", _INT64, ("texts", "tokens")),
            _value("bias", _FLOAT, ("texts", 1, 1, "tokens")),
            _value("pooling", _FLOAT, ("texts", 1, "tokens")),
        )
        graph = b"".join(
            (
                *(_bytes(1, node) for node in self.nodes),
                _text(2, "bert"),
                *(_bytes(5, tensor) for tensor in (*self.constants.values(), *weights)),
                *(_bytes(11, value) for value in inputs),
                _bytes(12, _value("vectors", _FLOAT, ("texts", 1, model.hidden))),
            )
        )
        return b"".join(
            (_int(1, _IR_VERSION), _bytes(7, graph), _bytes(8, _text(1, "") + _int(2, OPSET)))
        )


def _external(name: str, shape: Sequence[int]) -> bytes:
    """A tensor whose values are given when a session is made; the place is never looked up."""
    place = _text(1, "location") + _text(2, "model.safetensors")
    return _tensor(name, _FLOAT, shape) + _bytes(13, place) + _int(14, _EXTERNAL)


def _tensor(name: str, kind: int, shape: Iterable[int]) -> bytes:
    return b"".join((*(_int(1, size) for size in shape), _int(2, kind), _text(8, name)))


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    """Name and type of an input or output; sizes that vary have a name."""
    sizes = (_text(2, size) if isinstance(size, str) else _int(1, size) for size in shape)
    tensor = _int(1, kind) + _bytes(2, b"".join(_bytes(1, size) for size in sizes))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _attribute(name: str, value: float | tuple[int, ...]) -> bytes:
    if isinstance(value, tuple):
        said = b"".join(_int(8, one) for one in value) + _int(20, _ATTRIBUTE_INTS)
    elif isinstance(value, int):
        said = _int(3, value) + _int(20, _ATTRIBUTE_INT)
    else:
        said = _tag(2, 5) + struct.pack("<f", value) + _int(20, _ATTRIBUTE_FLOAT)
    return _text(1, name) + said


def _int(place: int, value: int) -> bytes:
    return _tag(place, 0) + _varint(value % 2**64)


def _text(place: int, value: str) -> bytes:
    return _bytes(place, value.encode())


def _bytes(place: int, value: bytes) -> bytes:
    return _tag(place, 2) + _varint(len(value)) + value


def _tag(place: int, kind: int) -> bytes:
    return _varint(place << 3 | kind)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have the highest bit."""
    found = bytearray()
    while value >= _MORE:
        found.append(value % _MORE | _MORE)
        value //= _MORE
    return bytes([*found, value])
