"""Makes the tiny models of the tests, in the folder of this script.

    pip install -r requirements.txt
    python make.py            writes the files
    python make.py --check    makes them in memory and fails where the files here differ

The weights come from seeded whole numbers, so every machine writes the same bytes. Only reference.json holds results
of a run, whose last digits depend on the CPU; --check gives it a tolerance.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

HERE = Path(__file__).resolve().parent
SEED = 20261122
OPSET = 17
IR_VERSION = 8  # that of opset 17

HIDDEN = 32
LAYERS = 2
HEADS = 4
INTERMEDIATE = 64
MAX_TOKENS = 64
EPSILON = 1e-12

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
PUNCTUATION = ".,!?'-"
SUFFIXES = ["##ing", "##ed", "##er", "##es", "##ly"]
WORDS = ["the", "an", "and", "or", "of", "in", "on", "at", "to", "from", "with", "for", "by", "is", "are", "was", "be", "it", "this", "that", "i", "you", "we", "they", "he", "she", "my", "your", "not", "no", "do", "how", "why", "what", "when", "where", "who", "cat", "dog", "bird", "fish", "tree", "sun", "moon", "rain", "snow", "wind", "sea", "river", "fire", "stone", "house", "door", "window", "road", "bridge", "train", "car", "ship", "book", "song", "music", "guitar", "stage", "city", "market", "bank", "money", "price", "rate", "day", "night", "year", "man", "woman", "child", "king", "queen", "friend", "play", "run", "walk", "sleep", "eat", "drink", "read", "write", "sing", "fall", "rise", "light", "dark", "warm", "cold", "big", "small", "old", "new", "good", "bad", "red", "green", "blue", "white", "black", "fast", "slow", "one", "two", "three"]

SENTENCES = [
    "The cat sleeps on the warm window.",
    "A dog runs in the snow.",
    "How do I read this book?",
    "The price of bread fell sharply at the market.",
    "Money and the bank rate",
    "she was singing, and he played the guitar on stage!",
    "Café naïve Über",
    "snow 雪 and fire 🚀 Ж",
    "a",
    "The king and the queen walk by the river at night, and the moon is white; 1234567890 stones fall in the dark sea.",
    " ".join(f"{word} is not {other}," for word, other in zip(WORDS[40:70], WORDS[70:100], strict=True)),
    "Why not?",
]


def build_tokenizer() -> Tokenizer:
    words = [*SPECIAL, *PUNCTUATION, *DIGITS, *LETTERS, *(f"##{c}" for c in DIGITS + LETTERS), *SUFFIXES]
    words += [word for word in WORDS if word not in words]
    tokenizer = Tokenizer(
        WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def special_token(content: str) -> dict[str, object]:
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


def text_files(tokenizer: Tokenizer) -> dict[str, object]:
    """The JSON files beside the graph, as transformers.js reads them."""
    names = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "attention_probs_dropout_prob": 0.0,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE,
            "layer_norm_eps": EPSILON,
            "max_position_embeddings": MAX_TOKENS,
            "model_type": "bert",
            "num_attention_heads": HEADS,
            "num_hidden_layers": LAYERS,
            "pad_token_id": 0,
            "position_embedding_type": "absolute",
            "type_vocab_size": 2,
            "vocab_size": tokenizer.get_vocab_size(),
        },
        "special_tokens_map.json": {key: special_token(name) for key, name in sorted(names.items())},
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                str(number): {**special_token(name), "special": True} for number, name in enumerate(SPECIAL)
            },
            "clean_up_tokenization_spaces": False,
            **names,
            "do_lower_case": True,
            "model_max_length": MAX_TOKENS,
            "strip_accents": None,
            "tokenize_chinese_chars": True,
            "tokenizer_class": "BertTokenizer",
        },
    }


class Graph:
    """Collects nodes and weights under running names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.Generator(np.random.PCG64(SEED))

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        output = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"node_{len(self.nodes)}", **attributes))
        return output

    def constant(self, name: str, value: object, dtype: type) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def weight(self, name: str, *shape: int, scale: float, around: float = 0.0) -> str:
        """Uniform in around ± scale, in steps of scale / 1024."""
        steps = self.random.integers(-1024, 1025, size=shape)
        return self.constant(name, around + steps * (scale / 1024), np.float32)

    def linear(self, name: str, x: str, inside: int, outside: int, scale: float) -> str:
        product = self.add("MatMul", x, self.weight(f"{name}.weight", inside, outside, scale=scale))
        return self.add("Add", product, self.weight(f"{name}.bias", outside, scale=0.125))

    def norm(self, name: str, x: str) -> str:
        gain = self.weight(f"{name}.weight", HIDDEN, scale=0.25, around=1.0)
        bias = self.weight(f"{name}.bias", HIDDEN, scale=0.125)
        return self.add("LayerNormalization", x, gain, bias, axis=-1, epsilon=EPSILON)

    def model(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="webinfer-tests")
        onnx.checker.check_model(model, full_check=True)
        return model


def bert(vocabulary: int) -> onnx.ModelProto:
    """A post-norm BERT of plain operators."""
    g = Graph()
    head = HIDDEN // HEADS
    split = g.constant("split_shape", [0, 0, HEADS, head], np.int64)
    merge = g.constant("merge_shape", [0, 0, HIDDEN], np.int64)

    # Positions: the first rows of the table, as many as there are tokens.
    tokens = g.add("Gather", g.add("Shape", "input_ids"), g.constant("one", [1], np.int64), axis=0)
    positions = g.add(
        "Slice",
        g.weight("embeddings.position", MAX_TOKENS, HIDDEN, scale=0.5),
        g.constant("zero", [0], np.int64),
        tokens,
    )
    words = g.add("Gather", g.weight("embeddings.word", vocabulary, HIDDEN, scale=2.0), "input_ids", axis=0)
    types = g.add("Gather", g.weight("embeddings.type", 2, HIDDEN, scale=0.25), "token_type_ids", axis=0)
    x = g.norm("embeddings.norm", g.add("Add", g.add("Add", words, types), positions))

    # 0 for tokens, a large negative number for padding: [batch, 1, 1, sequence].
    mask = g.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = g.add("Unsqueeze", mask, g.constant("mask_axes", [1, 2], np.int64))
    mask = g.add("Sub", g.constant("kept", 1.0, np.float32), mask)
    mask = g.add("Mul", mask, g.constant("masked", -1e9, np.float32))

    for layer in range(LAYERS):
        at = f"layer.{layer}"
        heads = {}
        for part, order in {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}.items():
            projected = g.linear(f"{at}.{part}", x, HIDDEN, HIDDEN, scale=0.375)
            heads[part] = g.add("Transpose", g.add("Reshape", projected, split), perm=order)
        scores = g.add("MatMul", heads["query"], heads["key"])
        scores = g.add("Div", scores, g.constant(f"{at}.root", np.sqrt(head), np.float32))
        chances = g.add("Softmax", g.add("Add", scores, mask), axis=-1)
        context = g.add("Transpose", g.add("MatMul", chances, heads["value"]), perm=[0, 2, 1, 3])
        context = g.linear(f"{at}.output", g.add("Reshape", context, merge), HIDDEN, HIDDEN, scale=0.375)
        x = g.norm(f"{at}.attention.norm", g.add("Add", x, context))

        inner = g.linear(f"{at}.up", x, HIDDEN, INTERMEDIATE, scale=0.375)
        erf = g.add("Erf", g.add("Div", inner, g.constant(f"{at}.sqrt2", np.sqrt(2), np.float32)))
        gelu = g.add("Mul", inner, g.add("Add", erf, g.constant(f"{at}.plus", 1.0, np.float32)))
        gelu = g.add("Mul", gelu, g.constant(f"{at}.half", 0.5, np.float32))
        x = g.norm(f"{at}.norm", g.add("Add", x, g.linear(f"{at}.down", gelu, INTERMEDIATE, HIDDEN, scale=0.25)))

    g.nodes[-1].output[0] = "last_hidden_state"
    ids = ["input_ids", "attention_mask", "token_type_ids"]
    return g.model(
        "tiny-bert",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in ids],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", HIDDEN])],
    )


def quantize(model: bytes) -> bytes:
    """Dynamic, 8 bits, unsigned, per channel."""
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder, "model.onnx"), Path(folder, "model_quantized.onnx")
        whole.write_bytes(model)
        quantize_dynamic(whole, small, per_channel=True, weight_type=QuantType.QUInt8)
        return serialize(onnx.load(small))


def identity() -> onnx.ModelProto:
    g = Graph()
    g.add("Identity", "x", output="y")
    value = helper.make_tensor_value_info
    return g.model("identity", [value("x", TensorProto.FLOAT, ["n"])], [value("y", TensorProto.FLOAT, ["n"])])


def types() -> onnx.ModelProto:
    g = Graph()
    names = ["FLOAT", "FLOAT16", "INT64", "INT32", "INT8", "UINT8", "BOOL"]
    for name in names:
        g.add("Identity", name.lower(), output=f"{name.lower()}_too")
    inputs, outputs = (
        [helper.make_tensor_value_info(f"{name.lower()}{end}", getattr(TensorProto, name), ["n"]) for name in names]
        for end in ("", "_too")
    )
    return g.model("types", inputs, outputs)


def add() -> onnx.ModelProto:
    g = Graph()
    g.add("Add", "a", g.add("Cast", "b", to=TensorProto.FLOAT), output="sum")
    g.add("Shape", "a", output="shape")
    value, shape = helper.make_tensor_value_info, ["batch", 4]
    return g.model(
        "add",
        [value("a", TensorProto.FLOAT, shape), value("b", TensorProto.INT64, shape)],
        [value("sum", TensorProto.FLOAT, shape), value("shape", TensorProto.INT64, [2])],
    )


def greedy() -> onnx.ModelProto:
    g = Graph()
    ones = g.add("ConstantOfShape", "n", value=numpy_helper.from_array(np.ones(1, dtype=np.float32)))
    g.add("ReduceMax", ones, output="max", axes=[0], keepdims=1)
    value = helper.make_tensor_value_info
    return g.model("greedy", [value("n", TensorProto.INT64, [1])], [value("max", TensorProto.FLOAT, [1])])


def serialize(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def embed(model: bytes, tokenizer: Tokenizer) -> list[list[float]]:
    """Mean over the tokens, scaled to length 1, of each sentence by itself."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    vectors = []
    for sentence in SENTENCES:
        # transformers.js cuts a long text after the special tokens were added: the last token is not [SEP] then.
        ids = np.asarray([tokenizer.encode(sentence).ids[:MAX_TOKENS]], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        vector = session.run(["last_hidden_state"], feed)[0][0].astype(np.float64).mean(axis=0)
        vectors.append([round(float(value), 6) for value in vector / np.linalg.norm(vector)])
    return vectors


def make() -> dict[str, bytes]:
    """All files, by path below this folder."""
    tokenizer = build_tokenizer()
    whole = serialize(bert(tokenizer.get_vocab_size()))
    small = quantize(whole)
    reference = {
        "model": "tiny-bert",
        "pooling": "mean over tokens, L2-normalised",
        "produced_by": f"onnxruntime {onnxruntime.__version__} CPU, one sentence at a time",
        "sentences": SENTENCES,
        "fp32": embed(whole, tokenizer),
        "q8": embed(small, tokenizer),
    }
    files = {
        "tiny-bert/onnx/model.onnx": whole,
        "tiny-bert/onnx/model_quantized.onnx": small,
        "identity/onnx/model.onnx": serialize(identity()),
        "types/onnx/model.onnx": serialize(types()),
        "add/onnx/model.onnx": serialize(add()),
        "greedy/onnx/model.onnx": serialize(greedy()),
        "tiny-bert/reference.json": f"{json.dumps(reference)}\n".encode(),
    }
    for name, content in text_files(tokenizer).items():
        files[f"tiny-bert/{name}"] = f"{json.dumps(content, indent=1, ensure_ascii=False)}\n".encode()
    return files


def reference_differs(made: bytes, found: bytes) -> bool:
    made, found = json.loads(made), json.loads(found)
    results = {"fp32": 1e-5, "q8": 5e-3}
    if {key: made[key] for key in made if key not in results} != {
        key: found[key] for key in found if key not in results
    }:
        return True
    pairs = [(np.asarray(made[key]), np.asarray(found.get(key, [])), limit) for key, limit in results.items()]
    return any(a.shape != b.shape or np.abs(a - b).max() > limit for a, b, limit in pairs)


def differences(files: dict[str, bytes]) -> list[str]:
    wrong = []
    for name, made in sorted(files.items()):
        path = HERE / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
            continue
        found = path.read_bytes()
        if reference_differs(made, found) if path.name == "reference.json" else made != found:
            wrong.append(f"{name} differs")
    folders = {name.split("/")[0] for name in files}
    there = {str(path.relative_to(HERE)) for name in folders for path in (HERE / name).rglob("*") if path.is_file()}
    return wrong + [f"{name} is not made by this script" for name in sorted(there - set(files))]


def wrong_versions() -> list[str]:
    pins = re.findall(r"^(\S+)==(\S+)$", (HERE / "requirements.txt").read_text(), re.MULTILINE)
    found = {name: importlib.metadata.version(name) for name, _ in pins}
    return [f"{name} is {found[name]}, not {version}" for name, version in pins if found[name] != version]


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the tiny models of the tests.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the files here differ")
    check = parser.parse_args().check
    if problems := wrong_versions():
        print("\n".join([*problems, "run: pip install -r requirements.txt"]), file=sys.stderr)
        return 1
    files = make()
    if check:
        problems = differences(files)
        print("\n".join(problems) or f"{len(files)} files are as they should be")
        return 1 if problems else 0
    for name, content in files.items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{len(content):7} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
