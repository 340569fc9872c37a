"""PyTorch on the same card: a process that `run.py` tells what to run, a JSON line each, and that answers with figures.

A run is: inputs from the machine's memory to the device, the model, its outputs back. Texts are token ids and pictures
are pixels already, so what the service does besides (tokenising, decoding) is not in it.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    ViTConfig,
    ViTForImageClassification,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

TYPES = {"fp32": torch.float32, "fp16": torch.float16}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}


def build(name: str, small: bool) -> torch.nn.Module:
    if name in ("bert-base", "minilm"):
        return BertModel(BertConfig(**(SMALL if small else MINILM if name == "minilm" else {})))
    if name == "vit-base":
        return ViTForImageClassification(ViTConfig(num_labels=1000, **(SMALL if small else {})))
    if name == "clip-vit-base":
        return CLIPModel(CLIPConfig())
    width = 64 if small else 384
    heads, inner, layers = (4, 128, 2) if small else (6, 1536, 4)
    shape = {"encoder_attention_heads": heads, "decoder_attention_heads": heads, "encoder_layers": layers}
    inside = {"encoder_ffn_dim": inner, "decoder_ffn_dim": inner, "decoder_layers": layers}
    return WhisperForConditionalGeneration(WhisperConfig(d_model=width, **shape, **inside))


def inputs(ask: dict[str, Any], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    batch, name = ask["batch"], ask["model"]
    if name in ("bert-base", "minilm"):
        ids = torch.randint(1000, 20_000, (batch, ask["tokens"]))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if name == "vit-base":
        return {"pixel_values": torch.rand(batch, 3, 224, 224, dtype=dtype)}
    if name == "clip-vit-base":
        ids = torch.randint(1000, 20_000, (4, 16))
        return {"input_ids": ids, "pixel_values": torch.rand(batch, 3, 224, 224, dtype=dtype)}
    return {"input_features": torch.rand(batch, 80, 3000, dtype=dtype)}


def runner(ask: dict[str, Any], model: torch.nn.Module, device: str) -> Callable[[], Any]:
    given = inputs(ask, TYPES[ask["dtype"]])

    def run() -> torch.Tensor:
        there = {name: each.to(device, non_blocking=True) for name, each in given.items()}
        if ask["model"] == "whisper-tiny":
            made = ask["new_tokens"]
            return model.generate(**there, max_new_tokens=made, min_new_tokens=made, do_sample=False).cpu()
        if ask["model"] == "whisper-tiny-encoder":
            return model.model.encoder(**there).last_hidden_state.cpu()
        out = model(**there)
        return (out[0] if ask["model"] != "clip-vit-base" else out.logits_per_image).cpu()

    if not ask.get("graph"):
        return run
    return captured(given, model, device)


def captured(given: dict[str, torch.Tensor], model: torch.nn.Module, device: str) -> Callable[[], Any]:
    """The same as a CUDA graph: all launches of a run at once."""
    there = {name: each.to(device) for name, each in given.items() if name != "attention_mask"}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            model(**there)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = model(**there)[0]

    def run() -> torch.Tensor:
        for name, each in there.items():
            each.copy_(given[name], non_blocking=True)
        graph.replay()
        return out.cpu()

    return run


def measure(run: Callable[[], Any], batch: int, seconds: float) -> dict[str, Any]:
    for _ in range(3):
        run()
    times = []
    begin = now = time.perf_counter()
    while now - begin < seconds:
        run()
        end = time.perf_counter()
        times.append(end - now)
        now = end
    return {
        "items_per_s": batch * len(times) / (now - begin),
        "p50_ms": statistics.median(times) * 1e3,
        "min_ms": min(times) * 1e3,
        "runs": len(times),
    }


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    small = "--small" in sys.argv
    facts = {"torch": torch.__version__, "transformers": transformers.__version__, "device": device}
    if device == "cuda":
        facts |= {"card": torch.cuda.get_device_name(), "tf32": torch.backends.cuda.matmul.allow_tf32}
    print(json.dumps(facts), flush=True)
    transformers.logging.set_verbosity_error()
    models: dict[tuple[str, str], torch.nn.Module] = {}
    runs: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            base = ask["model"].removesuffix("-encoder")
            key = (base, ask["dtype"])
            if key not in models:
                models[key] = build(base, small).eval().to(device, TYPES[ask["dtype"]])
            with torch.inference_mode():
                same = json.dumps({name: each for name, each in ask.items() if name != "seconds"})
                if same not in runs:
                    runs[same] = runner(ask, models[key], device)
                answer = measure(runs[same], ask["batch"], ask["seconds"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:400]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
