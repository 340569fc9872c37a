"""Tiny models that take pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, normalizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    GLPNConfig,
    GLPNForDepthEstimation,
    PreTrainedTokenizerFast,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
    YolosConfig,
    YolosForObjectDetection,
)

from .common import (
    UnclearError,
    apart,
    byte_bpe,
    case,
    classes,
    clear,
    export,
    labelled,
    new_folder,
    optimum_export,
    picture,
    seeded,
    write_config,
    write_json,
    write_reference,
    write_tokenizer,
)

LABELS = ["circle", "square", "triangle", "nothing"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def write_processor(folder: Path, kind: str, size: int | dict, **others: object) -> None:
    config = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": kind,
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": size, "width": size} if isinstance(size, int) else size,
        **others,
    }
    write_json(folder / "preprocessor_config.json", config)


def prepared(folder: Path, image: Image.Image) -> torch.Tensor:
    """The picture as the library's own processor makes it ready."""
    kind = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    return kind(image, return_tensors="pt")["pixel_values"]


def vit_config(**others: object) -> ViTConfig:
    return ViTConfig(**SMALL, **NO_DROPOUT, image_size=32, patch_size=8, **others)


def tiny_vit() -> None:
    folder = new_folder("tiny-vit")
    write_processor(folder, "ViTImageProcessor", 32)

    def build(seed: int) -> tuple:
        model = seeded(lambda: ViTForImageClassification(vit_config(**labelled(*LABELS))), seed)

        def scores(image: Image.Image) -> torch.Tensor:
            return model(pixel_values=prepared(folder, image)).logits[0].softmax(-1)

        output = classes(LABELS, scores(picture("shapes-32.png")))
        return model, [
            case("its own size", {"image": "shapes-32.png"}, output),
            case("the best", {"image": "shapes-32.png"}, {"classes": output["classes"][:1]}, {"top_k": 1}),
        ]

    model, cases = clear(build)
    write_config(folder, model)
    optimum_export(folder, model, "image-classification", ["model"])
    write_reference(folder, "image-classification", cases)


def tiny_vit_features() -> None:
    folder = new_folder("tiny-vit-features")
    write_processor(folder, "ViTImageProcessor", 32)

    def build(seed: int) -> tuple:
        model = seeded(lambda: ViTModel(vit_config()), seed)
        # The graph has the patches' vectors alone, so the service's own pooling makes one of them.
        patches = model(pixel_values=prepared(folder, picture("shapes-32.png"))).last_hidden_state[0]
        cases = []
        for pooling, vector in {"POOLING_MEAN": patches.mean(dim=0), "POOLING_CLS": patches[0]}.items():
            output = {"embedding": (vector / vector.norm()).tolist()}
            cases.append(case(pooling, {"image": "shapes-32.png"}, output, tolerance=0.002) | {"pooling": pooling})
        return model, cases

    model, cases = clear(build)
    write_config(folder, model)
    optimum_export(folder, model, "feature-extraction", ["model"])
    write_reference(folder, "image-feature-extraction", cases)


def clip_tokenizer(folder: Path, pad: str | None = None) -> PreTrainedTokenizerFast:
    """The end has the greatest number, by which the models find it."""
    tokenizer: Tokenizer = byte_bpe(320, [])
    ends = ["<|startoftext|>", "<|endoftext|>"]
    tokenizer.add_special_tokens(ends)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{ends[0]} $A {ends[1]}", special_tokens=[(end, tokenizer.token_to_id(end)) for end in ends]
    )
    begin, end = ends
    return write_tokenizer(
        folder, tokenizer, "CLIPTokenizer", 48, bos_token=begin, eos_token=end, unk_token=end, pad_token=pad or end
    )


def tower(vocabulary: int) -> tuple[dict, dict]:
    """Settings of the text's and of the picture's side."""
    ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": 0}
    text = {**SMALL, "vocab_size": vocabulary, "max_position_embeddings": 48, "projection_dim": 16, **ends}
    return text, {**SMALL, "image_size": 32, "patch_size": 8, "projection_dim": 16}


def tiny_clip() -> None:
    folder = new_folder("tiny-clip")
    write_processor(folder, "CLIPImageProcessor", 32, do_center_crop=True, crop_size={"height": 32, "width": 32})
    tokenizer = clip_tokenizer(folder)
    text, vision = tower(len(tokenizer))
    labels = ["cat", "dog", "red disc"]
    image = prepared(folder, picture("shapes-32.png"))

    def build(seed: int) -> tuple:
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        model = seeded(lambda: CLIPModel(config), seed)

        def scores(template: str) -> torch.Tensor:
            texts = [template.replace("{}", label) for label in labels]
            inputs = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
            return model(**inputs, pixel_values=image).logits_per_image[0].softmax(-1)

        item, choice = {"image": "shapes-32.png"}, {"candidate_labels": labels}
        other = "{}!"
        return model, [
            case("usual sentence", item, classes(labels, scores("This is a photo of {}")), choice),
            case("own sentence", item, classes(labels, scores(other)), {**choice, "hypothesis_template": other}),
        ]

    model, cases = clear(build)
    write_config(folder, model)
    optimum_export(folder, model, "zero-shot-image-classification", ["model"])
    ids = torch.tensor([tokenizer("a cat")["input_ids"]] * 2)
    batch = {0: "batch"}

    def texts(ids: torch.Tensor) -> tuple:
        outputs = model.text_model(input_ids=ids)
        return model.text_projection(outputs.pooler_output), outputs.last_hidden_state

    def pictures(pixels: torch.Tensor) -> tuple:
        outputs = model.vision_model(pixel_values=pixels)
        return model.visual_projection(outputs.pooler_output), outputs.last_hidden_state

    rows = {0: "batch", 1: "sequence"}
    export(
        folder,
        "text_model",
        texts,
        {"input_ids": (ids, rows)},
        {"text_embeds": batch, "last_hidden_state": rows},
        model,
    )
    pixels = {"pixel_values": (torch.cat([image, image]), batch)}
    export(folder, "vision_model", pictures, pixels, {"image_embeds": batch, "last_hidden_state": batch}, model)
    write_reference(folder, "zero-shot-image-classification", cases)


def boxes(scored: list[tuple[float, str, torch.Tensor]], size: int) -> dict:
    """Boxes as the library gives them: their corners in whole pixels, cut off."""
    found = []
    for score, label, (x, y, width, height) in sorted(scored, key=lambda one: -one[0]):
        corners = [float(at) * size for at in (x - width / 2, y - height / 2, x + width / 2, y + height / 2)]
        if any(abs(at - round(at)) < 0.02 for at in corners):
            raise UnclearError("a corner is nearly on a pixel's edge")
        found.append({"label": label, "score": score, "box": [int(at) for at in corners]})
    apart([one["score"] for one in found], 0.005)
    return {"detections": found}


def tiny_yolos() -> None:
    folder = new_folder("tiny-yolos")
    write_processor(folder, "YolosImageProcessor", 64, do_pad=False)
    config = YolosConfig(
        **{**SMALL, "num_hidden_layers": 2},
        **NO_DROPOUT,
        image_size=[64, 64],
        patch_size=16,
        num_detection_tokens=8,
        **labelled(*LABELS[:3]),
    )

    def build(seed: int) -> tuple:
        model = seeded(lambda: YolosForObjectDetection(config), seed, gain=2)
        outputs = model(pixel_values=prepared(folder, picture("shapes-64.png")))
        scores = outputs.logits[0].softmax(-1)
        best = scores.topk(2).values
        if (best[:, 0] - best[:, 1]).min() < 0.02:
            raise UnclearError("two labels are nearly as likely")
        found = [
            (float(row.max()), LABELS[int(row.argmax())], box)
            for row, box in zip(scores, outputs.pred_boxes[0], strict=True)
            if row.argmax() < 3
        ]
        if len({label for _, label, _ in found}) < 2 or len(found) > 6:
            raise UnclearError("all boxes are the same")
        cases = []
        for threshold in [0.05, 0.6]:
            if any(abs(score - threshold) < 0.01 for score, _, _ in found):
                raise UnclearError("a box is at the threshold")
            output = boxes([one for one in found if one[0] > threshold], 64)
            cases.append(case(f"from {threshold}", {"image": "shapes-64.png"}, output, {"threshold": threshold}))
        if not 0 < len(cases[1]["output"]["detections"]) < len(cases[0]["output"]["detections"]):
            raise UnclearError("the threshold makes no difference")
        return model, cases

    model, cases = clear(build, tries=400)
    write_config(folder, model)
    optimum_export(folder, model, "object-detection", ["model"], height=64, width=64)
    write_reference(folder, "object-detection", cases)


def tiny_segformer() -> None:
    folder = new_folder("tiny-segformer")
    write_processor(folder, "SegformerImageProcessor", 64, do_reduce_labels=False)
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 32],
        num_attention_heads=[1, 1, 2, 4],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=32,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
        **NO_DROPOUT,
        **labelled(*LABELS),
    )

    def build(seed: int) -> tuple:
        model = seeded(lambda: SegformerForSemanticSegmentation(config), seed)
        logits = model(pixel_values=prepared(folder, picture("shapes-64.png"))).logits
        large = torch.nn.functional.interpolate(logits, size=(64, 64), mode="bilinear", align_corners=False)[0]
        areas = [int((large.argmax(0) == number).sum()) for number in range(len(LABELS))]
        segments = [{"label": label, "area": area} for label, area in zip(LABELS, areas, strict=True) if area]
        if len(segments) < 3 or min(segment["area"] for segment in segments) < 200:
            raise UnclearError("too few segments")
        return model, [case("its own size", {"image": "shapes-64.png"}, {"segments": segments}, tolerance=0.05)]

    model, cases = clear(build, tries=400)
    write_config(folder, model)
    optimum_export(folder, model, "semantic-segmentation", ["model"], height=64, width=64)
    write_reference(folder, "image-segmentation", cases)


def samples_of(values: np.ndarray) -> list[list[float]]:
    """16 values here and there, with their places."""
    random = np.random.default_rng(0)
    places = [tuple(int(random.integers(size)) for size in values.shape) for _ in range(16)]
    return [[*place, float(values[place])] for place in places]


def tiny_depth() -> None:
    folder = new_folder("tiny-depth")
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_rescale": True,
            "do_resize": True,
            # The name by which transformers.js knows it.
            "feature_extractor_type": "GLPNFeatureExtractor",
            "resample": 2,
            "size_divisor": 32,
        },
    )
    config = GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 32],
        num_attention_heads=[1, 1, 2, 4],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=16,
        drop_path_rate=0.0,
        **NO_DROPOUT,
    )

    def build(seed: int) -> tuple:
        model = seeded(lambda: GLPNForDepthEstimation(config), seed)
        depth = model(pixel_values=prepared(folder, picture("shapes-64.png"))).predicted_depth[0].numpy()
        if depth.std() < 0.5:
            raise UnclearError("flat")
        output = {"depth": {"shape": list(depth.shape), "samples": samples_of(depth)}}
        return model, [case("its own size", {"image": "shapes-64.png"}, output)]

    model, cases = clear(build, tries=400)
    write_config(folder, model)
    optimum_export(folder, model, "depth-estimation", ["model"], height=64, width=64)
    write_reference(folder, "depth-estimation", cases)
