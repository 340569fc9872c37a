"""Makes the graphs of the models of full size that `media.rs` and `gpu` measure: real architectures without weights.

    pip install -r ../../tests/models/requirements-tasks.txt
    python make.py

Each float tensor of some size is said to lie in a file beside the graph, which the bench fills with random numbers. So a
model of hundreds of megabytes is kept as a graph of a few hundred kilobytes. Tokenizers are those of the tiny models of the
tests: what is compared does not depend on the words. Those of texts alone get the one of all-MiniLM-L6-v2 from the bench.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import onnx
from onnx import TensorProto
from onnx.external_data_helper import set_external_data
from optimum.exporters.onnx import onnx_export_from_model
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

HERE = Path(__file__).resolve().parent
TINY = HERE.parents[1] / "tests" / "models"
#: Smaller tensors stay in the graph.
LEAST_BYTES = 2048
#: Bytes of weights of each graph, for the bench.
WEIGHTS: dict[str, int] = {}


def strip(source: Path, target: Path) -> int:
    """Writes a graph whose large float tensors lie in a file that is not there; returns the bytes of that."""
    model = onnx.load(source)
    offset = 0
    for tensor in model.graph.initializer:
        size = len(tensor.raw_data)
        if tensor.data_type != TensorProto.FLOAT or size < LEAST_BYTES:
            continue
        set_external_data(tensor, f"{target.name}_data", offset, size)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        offset += size
    onnx.save(model, target)
    return offset


def make(name: str, model: PreTrainedModel, task: str, processor: dict | None, tiny: str | None = None) -> None:
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "onnx").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        onnx_export_from_model(model.eval(), Path(scratch), task=task, do_validation=False, opset=17)
        graphs = sorted(Path(scratch).glob("*.onnx"))
        merged = any(path.stem == "decoder_model_merged" for path in graphs)
        for path in graphs:
            if not merged or path.stem in ("encoder_model", "decoder_model_merged"):
                WEIGHTS[f"{name}/{path.name}"] = strip(path, folder / "onnx" / path.name)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")
    for extra in ("generation_config", "tokenizer", "tokenizer_config") if tiny else ():
        if (TINY / tiny / f"{extra}.json").exists():
            shutil.copy(TINY / tiny / f"{extra}.json", folder)


def picture(kind: str, **more: object) -> dict:
    half = [0.5, 0.5, 0.5]
    return {
        "image_processor_type": kind,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "image_mean": half,
        "image_std": half,
        "resample": 2,
        "size": {"height": 224, "width": 224},
        **more,
    }


def main() -> None:
    minilm = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    make("bert-base", BertModel(BertConfig()), "feature-extraction", None)
    make("minilm", BertModel(minilm), "feature-extraction", None)
    make(
        "vit-base",
        ViTForImageClassification(ViTConfig(num_labels=1000)),
        "image-classification",
        picture("ViTImageProcessor"),
    )
    crop = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
    make(
        "clip-vit-base",
        CLIPModel(CLIPConfig()),
        "zero-shot-image-classification",
        picture("CLIPImageProcessor", **crop),
        "tiny-clip",
    )
    speech = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": 80,
        "sampling_rate": 16_000,
        "n_fft": 400,
        "hop_length": 160,
        "chunk_length": 30,
        "n_samples": 480_000,
        "nb_max_frames": 3000,
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
    tiny = WhisperConfig(
        d_model=384,
        encoder_layers=4,
        decoder_layers=4,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_ffn_dim=1536,
        decoder_ffn_dim=1536,
        num_mel_bins=80,
        max_source_positions=1500,
        max_target_positions=448,
        vocab_size=51_865,
        decoder_start_token_id=321,
        eos_token_id=320,
        bos_token_id=320,
        pad_token_id=320,
    )
    make(
        "whisper-tiny",
        WhisperForConditionalGeneration(tiny),
        "automatic-speech-recognition-with-past",
        speech,
        "tiny-whisper",
    )
    (HERE / "weights.json").write_text(json.dumps(WEIGHTS, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
