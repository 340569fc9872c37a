"""What the makers of the tiny models have in common: weights, tokenizers, export, references."""

from __future__ import annotations

import inspect
import itertools
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import soundfile
import torch
import transformers
from optimum.exporters.onnx import onnx_export_from_model
from PIL import Image
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedModel, PreTrainedTokenizerFast

MODELS = Path(__file__).resolve().parents[1]
MEDIA = MODELS.parent / "media"
SEED = 20261122
OPSET = 18
# Steps whose two best tokens are closer than this may turn out otherwise on another machine.
MARGIN = 0.05

SENTENCES = """
The cat sleeps on the warm window. A dog runs in the snow, and the bird sings. How do I read this book?
The price of bread fell at the market, and the bank has money. She was singing while he played the guitar on stage!
The king and the queen walk by the river at night. The moon is white, the sea is dark, and the fire is warm.
A train goes over the bridge to the old city. One, two, three ships rise and fall. Why not drink water in the morning?
This is a photo of a cat. This is a photo of a dog. This is a sound of rain. This example is about music.
What is the name? What is the sum? The total is 1234567890. A red disc, a green square and a yellow triangle.
Describe this picture. Who lives in the stone house with the blue door? The child and the man eat and sleep all day.
translate English to German: The house is small. summarize: The wind is cold and the rain is good for the tree.
""".strip().split("\n")


class UnclearError(Exception):
    """Results that rounding may turn around."""


def seeded(make: Callable[[], PreTrainedModel], seed: int, gain: float = 1.5) -> PreTrainedModel:
    """A model whose weights let signals through: normal, `gain` over the root of the inputs. Norms stay as they are."""
    torch.manual_seed(seed)
    model = make().eval()
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if id(weight) in embeddings:
                weight.normal_(0, 1)
            elif weight.ndim >= 2:
                weight.normal_(0, gain / np.sqrt(max(weight[0].numel(), 1)))
            elif name.endswith("bias"):
                weight.normal_(0, 0.1)
    return model


def clear(build: Callable[[int], tuple], tries: int = 60) -> tuple:
    """What `build` makes of the first seed that gives clear results."""
    failures: list[str] = []

    def attempt(seed: int) -> tuple | None:
        try:
            with torch.no_grad():
                return build(seed)
        except UnclearError as error:
            failures.append(str(error))
            return None

    found = next(filter(None, map(attempt, range(SEED, SEED + tries))), None)
    if found is None:
        raise RuntimeError(f"no seed gives clear results: {failures[-1]}")
    return found


def apart(values: Iterable[float], least: float = 0.02) -> None:
    """Refuses values of which two are nearly the same."""
    ordered = sorted(float(value) for value in values)
    if any(b - a < least for a, b in itertools.pairwise(ordered)):
        raise UnclearError(f"too close: {ordered}")


def greedy(model: PreTrainedModel, **inputs: object) -> list[int]:
    """The tokens of a greedy generation, with those that it begins with. Refuses steps that are nearly even."""
    settings = {"do_sample": False, "num_beams": 1, "return_dict_in_generate": True, "output_scores": True}
    made = model.generate(**settings, **inputs)
    for scores in made.scores:
        best = scores[0].topk(2).values
        if best[0] - best[1] < MARGIN:
            raise UnclearError("two tokens are nearly as likely")
    return made.sequences[0].tolist()


def rounded(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    return round(float(value), 6) if isinstance(value, (float, np.floating)) else value


def case(name: str, item: dict, output: dict, parameters: dict | None = None, tolerance: float = 0.01) -> dict:
    return {"name": name, "item": item, "parameters": parameters or {}, "output": output, "tolerance": tolerance}


def classes(labels: Iterable[str], scores: Iterable[float], count: int = 5, least: float = 0.005) -> dict:
    pairs = sorted(zip(labels, (float(score) for score in scores), strict=True), key=lambda pair: -pair[1])
    apart([score for _, score in pairs[: count + 1]], least)
    return {"classes": [{"label": label, "score": rounded(score)} for label, score in pairs[:count]]}


def labelled(*labels: str) -> dict:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: number for number, label in enumerate(labels)}}


def hide_bytes(weight: torch.Tensor, tokenizer: object) -> None:
    """Makes parts of characters, which are no text by themselves, hardly ever the likeliest."""
    for token, number in tokenizer.get_vocab().items():
        if len(token) == 1 and not token.isascii() and token not in "Ġ▁":
            weight[number] = 0


def generated(text: str, prompt_tokens: int, generated_tokens: int) -> dict:
    return {"generated": {"text": text, "prompt_tokens": prompt_tokens, "generated_tokens": generated_tokens}}


def picture(name: str) -> Image.Image:
    return Image.open(MEDIA / name).convert("RGB")


def sound(name: str) -> np.ndarray:
    return soundfile.read(MEDIA / name, dtype="float32")[0]


# Tokenizers


def byte_bpe(size: int, special: list[str], before: list[str] = (), after: list[str] = ()) -> Tokenizer:
    """Byte pairs, as GPT-2 has them. `before` and `after` are special tokens that begin and end a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if before or after:
        ends = [(token, tokenizer.token_to_id(token)) for token in [*before, *after]]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join([*before, "$A", *after]), special_tokens=ends
        )
    return tokenizer


def unigram(size: int, special: list[str]) -> Tokenizer:
    """Pieces with their likelihoods, as SentencePiece has them, with </s> at the end."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    # The last digits, and with them the order, differ from run to run.
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    scored = sorted(((round(score, 3), piece) for piece, score in pieces[len(special) :]), reverse=True)
    vocabulary = [(piece, 0.0) for piece in special] + [(piece, score) for score, piece in scored]
    tokenizer.model = models.Unigram(vocabulary, special.index("<unk>"), False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return tokenizer


def write_tokenizer(
    folder: Path, tokenizer: Tokenizer, kind: str, most: int, **config: object
) -> PreTrainedTokenizerFast:
    """Writes the tokenizer's files, as `kind` has them, and gives the same for Python."""
    added = {
        str(number): {
            "content": token.content,
            "lstrip": token.lstrip,
            "normalized": token.normalized,
            "rstrip": token.rstrip,
            "single_word": token.single_word,
            "special": token.special,
        }
        for number, token in sorted(tokenizer.get_added_tokens_decoder().items())
    }
    names = {key: value for key, value in config.items() if key.endswith("_token") and isinstance(value, str)}
    write_json(folder / "tokenizer.json", json.loads(tokenizer.to_str()))
    write_json(folder / "special_tokens_map.json", names)
    write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": added,
            "clean_up_tokenization_spaces": False,
            **config,
            "model_max_length": most,
            "tokenizer_class": kind,
        },
    )
    own = {key: value for key, value in config.items() if key in names or key == "chat_template"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=most, clean_up_tokenization_spaces=False, **own
    )


# Files


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{json.dumps(content, indent=1, ensure_ascii=False)}\n", encoding="utf-8")


def new_folder(name: str) -> Path:
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Writes a graph without what tells of the machine that it was made on."""

    def strip(graph: onnx.GraphProto) -> None:
        graph.ClearField("doc_string")
        for node in graph.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    strip(attribute.g)

    strip(model.graph)
    model.ClearField("metadata_props")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_config(folder: Path, model: PreTrainedModel, **others: object) -> None:
    config = json.loads(model.config.to_json_string(use_diff=False))
    # Settings of a training or of a generation are no part of an architecture.
    unset = {"output_attentions", "output_hidden_states", "return_dict", "_name_or_path", "max_length", "torchscript"}
    kept = {key: value for key, value in config.items() if value is not None and key not in unset}
    write_json(folder / "config.json", {**kept, "architectures": [type(model).__name__], **others})
    if model.can_generate() and model.generation_config is not None:
        write_json(folder / "generation_config.json", json.loads(model.generation_config.to_json_string()))


def export(
    folder: Path,
    name: str,
    function: Callable[..., object],
    inputs: dict[str, tuple[torch.Tensor, dict[int, str]]],
    outputs: dict[str, dict[int, str]],
    model: torch.nn.Module,
) -> None:
    """Writes the graph of what `function` makes of `inputs`, which come with their dynamic axes."""

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: torch.Tensor) -> object:
            return function(*values)

    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        path = Path(scratch, "model.onnx")
        torch.onnx.export(
            Wrapped().eval(),
            tuple(value for value, _ in inputs.values()),
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={**{key: axes for key, (_, axes) in inputs.items()}, **outputs},
            opset_version=OPSET,
            dynamo=False,
        )
        write_graph(onnx.load(path), folder / "onnx" / f"{name}.onnx")


def optimum_export(folder: Path, model: PreTrainedModel, task: str, files: Iterable[str], **options: object) -> None:
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnx_export_from_model(model, Path(scratch), task=task, opset=OPSET, do_validation=False, **options)
        for name in files:
            write_graph(onnx.load(Path(scratch, f"{name}.onnx")), folder / "onnx" / f"{name}.onnx")


def write_reference(folder: Path, task: str, cases: list[dict]) -> None:
    runtime = f"PyTorch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
    write_json(folder / "reference.json", {"task": task, "runtime": runtime, "cases": rounded_cases(cases)})


def rounded_cases(value: object) -> object:
    if isinstance(value, dict):
        return {key: rounded_cases(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded_cases(each) for each in value]
    return rounded(value)


def makers(module: object) -> dict[str, Callable[[], None]]:
    """The functions of a module that make a folder, by the folder's name."""
    functions = inspect.getmembers(module, inspect.isfunction)
    own = [(name, function) for name, function in functions if function.__module__ == module.__name__]
    return {name.replace("_", "-"): function for name, function in own if name.startswith("tiny_")}
