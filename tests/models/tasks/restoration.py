"""Tiny models that make a picture of a picture, or find what a text names in one."""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    OwlViTConfig,
    OwlViTForObjectDetection,
    Swin2SRConfig,
    Swin2SRForImageSuperResolution,
)

from .common import (
    UnclearError,
    case,
    clear,
    export,
    new_folder,
    optimum_export,
    picture,
    seeded,
    write_config,
    write_json,
    write_reference,
)
from .vision import (
    NO_DROPOUT,
    boxes,
    clip_tokenizer,
    prepared,
    samples_of,
    tower,
    write_processor,
)

BATCH = {0: "batch", 2: "height", 3: "width"}


def tiny_owlvit() -> None:
    folder = new_folder("tiny-owlvit")
    write_processor(folder, "OwlViTImageProcessor", 32, do_center_crop=False)
    tokenizer = clip_tokenizer(folder, pad="!")
    text, vision = tower(len(tokenizer))
    labels = ["a red disc", "a green square"]
    image = prepared(folder, picture("shapes-32.png"))
    for side in [text, vision]:
        side.pop("projection_dim")

    def build(seed: int) -> tuple:
        config = OwlViTConfig(text_config=text, vision_config=vision, projection_dim=32)
        model = seeded(lambda: OwlViTForObjectDetection(config), seed)
        inputs = tokenizer(labels, padding=True, return_tensors="pt", return_token_type_ids=False)
        outputs = model(**inputs, pixel_values=image)
        scores = outputs.logits[0].sigmoid()
        threshold = float(scores.flatten().sort(descending=True).values[5:7].mean())
        threshold = round(threshold, 2)
        if (scores - threshold).abs().min() < 0.003:
            raise UnclearError("a box is at the threshold")
        found = [
            (float(scores[at, label]), labels[label], outputs.pred_boxes[0, at])
            for at, label in (scores > threshold).nonzero().tolist()
        ]
        if len({label for _, label, _ in found}) < 2 or not 3 < len(found) < 9:
            raise UnclearError("no good mix of boxes")
        output = boxes(found, 32)
        choice = {"candidate_labels": labels, "threshold": threshold}
        best = {"detections": output["detections"][:2]}
        item = {"image": "shapes-32.png"}
        return model, [case("all", item, output, choice), case("the best two", item, best, {**choice, "top_k": 2})]

    model, cases = clear(build, tries=400)
    write_config(folder, model)
    optimum_export(folder, model, "zero-shot-object-detection", ["model"])
    write_reference(folder, "zero-shot-object-detection", cases)


def image_output(values: torch.Tensor) -> dict:
    """A picture [height, width, channels] of whole numbers."""
    height, width, channels = values.shape
    samples = samples_of(values.numpy().astype(np.float64))
    return {"image": {"width": width, "height": height, "channels": channels, "samples": samples}}


def tiny_matting() -> None:
    folder = new_folder("tiny-matting")
    # As the library's own conversion of MODNet has it, with a smaller size.
    write_json(folder / "config.json", {"architectures": ["MODNet"], "model_type": "modnet"})
    write_processor(folder, "ImageFeatureExtractor", {"shortest_edge": 64}, size_divisibility=32)

    class Matting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = None
            self.layers = torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
                torch.nn.ReLU(),
                torch.nn.Conv2d(8, 8, 3, padding=1),
                torch.nn.ReLU(),
                torch.nn.Upsample(scale_factor=2, mode="nearest"),
                torch.nn.Conv2d(8, 1, 3, padding=1),
                torch.nn.Sigmoid(),
            )

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.layers(pixels)

    colours = torch.from_numpy(np.asarray(picture("shapes-64.png")).copy())
    pixels = (colours.permute(2, 0, 1)[None] / 255 - 0.5) / 0.5

    def build(seed: int) -> tuple:
        model = seeded(Matting, seed, gain=2)
        alpha = model(pixels)[0, 0]
        if alpha.std() < 0.25:
            raise UnclearError("flat")
        whole = torch.cat([colours, (alpha * 255).floor().to(torch.uint8)[:, :, None]], dim=2)
        return model, [case("its own size", {"image": "shapes-64.png"}, image_output(whole), tolerance=0.02)]

    model, cases = clear(build)
    export(folder, "model", model.forward, {"input": (torch.cat([pixels, pixels]), BATCH)}, {"output": BATCH}, model)
    write_reference(folder, "background-removal", cases)


def tiny_swin2sr() -> None:
    folder = new_folder("tiny-swin2sr")
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_pad": True,
            "do_rescale": True,
            "image_processor_type": "Swin2SRImageProcessor",
            "pad_size": 8,
            "rescale_factor": 1 / 255,
        },
    )
    # One block a stage: no window is shifted, so nothing in the graph depends on the picture's size.
    config = Swin2SRConfig(
        image_size=32,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=8,
        mlp_ratio=2.0,
        upscale=2,
        upsampler="pixelshuffledirect",
        drop_path_rate=0.0,
        **NO_DROPOUT,
    )
    # The library's processor for Python would pad a picture that fits already; that of transformers.js does not.
    image = torch.from_numpy(np.asarray(picture("shapes-32.png")).copy()).permute(2, 0, 1)[None] / 255

    def build(seed: int) -> tuple:
        model = seeded(lambda: Swin2SRForImageSuperResolution(config), seed)
        model.upsample.conv.weight.mul_(0.2)
        made = model(pixel_values=image).reconstruction[0]
        if made.std() < 0.05 or ((made < 0) | (made > 1)).float().mean() > 0.4:
            raise UnclearError("flat or too bright")
        whole = (made.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
        return model, [case("its own size", {"image": "shapes-32.png"}, image_output(whole), tolerance=0.02)]

    model, cases = clear(build, tries=200)
    write_config(folder, model)

    def enlarged(pixels: torch.Tensor) -> torch.Tensor:
        return model(pixel_values=pixels).reconstruction

    inputs = {"pixel_values": (torch.cat([image, image]), BATCH)}
    export(folder, "model", enlarged, inputs, {"reconstruction": BATCH}, model)
    write_reference(folder, "image-to-image", cases)
