"""Tiny models that make text of pictures."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from transformers import (
    CLIPVisionConfig,
    DonutSwinConfig,
    DonutSwinModel,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MBartConfig,
    MBartForCausalLM,
    PreTrainedModel,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTModel,
)

from .common import (
    UnclearError,
    byte_bpe,
    case,
    clear,
    export,
    generated,
    greedy,
    hide_bytes,
    new_folder,
    optimum_export,
    picture,
    seeded,
    write_config,
    write_graph,
    write_json,
    write_reference,
    write_tokenizer,
)
from .vision import SMALL, prepared, vit_config, write_processor


def joined(encoder: PreTrainedModel, decoder: PreTrainedModel, start: int, end: int, pad: int) -> PreTrainedModel:
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder.config, decoder.config)
    ids = {"decoder_start_token_id": start, "eos_token_id": end, "pad_token_id": pad}
    for key, value in ids.items():
        setattr(config, key, value)
    model = VisionEncoderDecoderModel(config=config, encoder=encoder, decoder=decoder)
    model.generation_config = GenerationConfig(**ids)
    return model


CAPTION = "A red disc, a green square and a yellow triangle."


def tiny_vit_gpt2() -> None:
    """Trained to know a caption by heart."""
    folder = new_folder("tiny-vit-gpt2")
    write_processor(folder, "ViTImageProcessor", 32)
    end = "<|endoftext|>"
    tokenizer = write_tokenizer(
        folder, byte_bpe(320, [end]), "GPT2Tokenizer", 64, bos_token=end, eos_token=end, pad_token=end, unk_token=end
    )
    pixels = prepared(folder, picture("shapes-32.png"))
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=32,
        n_layer=1,
        n_head=4,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=0,
        eos_token_id=0,
    )

    def build(seed: int) -> tuple:
        model = seeded(lambda: joined(ViTModel(vit_config()), GPT2LMHeadModel(config), 0, 0, 0), seed)
        learn(model, pixels, [([0], [*tokenizer.encode(CAPTION), 0])])
        tokens = greedy(model, pixel_values=pixels, max_new_tokens=32)[1:]
        if tokenizer.decode(tokens, skip_special_tokens=True) != CAPTION:
            raise UnclearError("not what was learnt")
        output = generated(tokenizer.decode(tokens, skip_special_tokens=True), 1, len(tokens))
        cut_off = generated(tokenizer.decode(tokens[:4]), 1, 4)
        return model, [
            case("its own size", {"image": "shapes-32.png"}, output, {"generation": {"max_new_tokens": 32}}),
            case("cut off", {"image": "shapes-32.png"}, cut_off, {"generation": {"max_new_tokens": 4}}),
        ]

    model, cases = clear(build, tries=3)
    write_config(folder, model)
    optimum_export(folder, model, "image-to-text-with-past", ["encoder_model", "decoder_model_merged"])
    write_reference(folder, "image-to-text", cases)


ANSWERS = {"What is the name?": "The old city", "What is the total?": "1234"}


def tiny_donut() -> None:
    """Trained to know two answers by heart: noise would not make the marks that an answer ends with."""
    folder = new_folder("tiny-donut")
    write_processor(
        folder,
        "DonutImageProcessor",
        64,
        do_align_long_axis=False,
        do_pad=True,
        do_thumbnail=True,
        processor_class="DonutProcessor",
    )
    marks = ["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>"]
    special = ["<s>", "<pad>", "</s>", "<unk>", *marks]
    tokenizer = write_tokenizer(
        folder,
        byte_bpe(340, special, before=["<s>"], after=["</s>"]),
        "XLMRobertaTokenizer",
        128,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    pixels = prepared(folder, picture("form.png"))
    encoder = DonutSwinConfig(
        image_size=[64, 64],
        patch_size=4,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 4],
        window_size=4,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
    )
    decoder = MBartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        decoder_layers=1,
        decoder_attention_heads=4,
        decoder_ffn_dim=64,
        encoder_layers=1,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        max_position_embeddings=128,
        dropout=0.0,
        is_decoder=True,
        is_encoder_decoder=False,
        add_cross_attention=True,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        forced_eos_token_id=None,
    )

    def build(seed: int) -> tuple:
        model = seeded(lambda: joined(DonutSwinModel(encoder), MBartForCausalLM(decoder), 0, 2, 1), seed)
        lessons = []
        for question, answer in ANSWERS.items():
            prompt = f"<s_docvqa><s_question>{question}</s_question><s_answer>"
            before = tokenizer.encode(prompt, add_special_tokens=False)
            lessons.append((before, [*tokenizer.encode(f" {answer}</s_answer>", add_special_tokens=False), 2]))
        learn(model, pixels, lessons)
        cases = []
        for (question, answer), (before, _) in zip(ANSWERS.items(), lessons, strict=True):
            whole = greedy(model, pixel_values=pixels, decoder_input_ids=torch.tensor([before]), max_new_tokens=24)
            text = tokenizer.decode(whole[len(before) :])
            if not text.startswith(f" {answer}</s_answer>"):
                raise UnclearError(f"not what was learnt: {text}")
            item = {"question": {"text": question, "document": "form.png"}}
            few = {"generation": {"max_new_tokens": 24}}
            cases.append(case(question, item, {"answers": [{"text": answer}]}, few))
        return model, cases

    model, cases = clear(build, tries=3)
    write_config(folder, model)
    optimum_export(
        folder,
        model,
        "image-to-text-with-past",
        ["encoder_model", "decoder_model_merged"],
        height=64,
        width=64,
    )
    write_reference(folder, "document-question-answering", cases)


def learn(model: PreTrainedModel, pixels: torch.Tensor, lessons: list[tuple[list[int], list[int]]]) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with torch.enable_grad():
        for _ in range(300):
            loss = torch.zeros(())
            for before, after in lessons:
                given = torch.tensor([[*before, *after[:-1]]])
                logits = model(pixel_values=pixels, decoder_input_ids=given).logits[0, len(before) - 1 :]
                loss = loss + torch.nn.functional.cross_entropy(logits, torch.tensor(after))
            if loss < 2e-3:
                return
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    raise UnclearError(f"not learnt: {float(loss)}")


CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# 16 patches and the token of the whole.
IMAGE_TOKENS = 17


def tiny_vlm() -> None:
    folder = new_folder("tiny-vlm")
    write_processor(
        folder,
        "CLIPImageProcessor",
        32,
        crop_size={"height": 32, "width": 32},
        do_center_crop=True,
        processor_class="LlavaProcessor",
    )
    choice = {"patch_size": 8, "vision_feature_select_strategy": "full"}
    write_json(
        folder / "processor_config.json",
        {**choice, "image_token": "<image>", "num_additional_image_tokens": 1, "processor_class": "LlavaProcessor"},
    )
    special = ["<pad>", "<s>", "</s>", "<image>", "<|system|>", "<|user|>", "<|assistant|>"]
    tokenizer = write_tokenizer(
        folder,
        byte_bpe(360, special),
        "LlamaTokenizer",
        256,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=CHAT_TEMPLATE,
    )
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    text = LlamaConfig(**SMALL, vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=256, **ids)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**SMALL, image_size=32, patch_size=8),
        text_config=text,
        image_token_index=3,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        **ids,
    )
    pixels = prepared(folder, picture("shapes-32.png"))
    talks = {
        "picture and text": [{"role": "user", "parts": [{"image": "shapes-32.png"}, {"text": "What is this?"}]}],
        "text first": [
            {"role": "system", "parts": [{"text": "Sing."}]},
            {"role": "user", "parts": [{"text": "Describe this picture."}, {"image": "shapes-32.png"}]},
        ],
    }

    def build(seed: int) -> tuple:
        model = seeded(lambda: LlavaForConditionalGeneration(config), seed)
        model.generation_config = GenerationConfig(**ids)
        hide_bytes(model.lm_head.weight, tokenizer)
        cases = []
        for name, talk in talks.items():
            messages = []
            for message in talk:
                content = [{"type": next(iter(part)), **part} for part in message["parts"]]
                messages.append({"role": message["role"], "content": content})
            prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            prompt = prompt.replace("<image>", "<image>" * IMAGE_TOKENS)
            tokens = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
            count = tokens["input_ids"].shape[1]
            made = greedy(model, **tokens, pixel_values=pixels, max_new_tokens=8)[count:]
            if len(set(made)) < 5 or special_in(made, len(special)):
                raise UnclearError("too monotonous")
            output = generated(tokenizer.decode(made, skip_special_tokens=True), count, len(made))
            cases.append(case(name, {"chat": talk}, output, {"generation": {"max_new_tokens": 8}}))
        return model, cases

    model, cases = clear(build, tries=400)
    write_config(folder, model)
    write_json(folder / "generation_config.json", model.generation_config.to_dict())
    rows = {0: "batch", 1: "sequence"}
    embed = model.get_input_embeddings()
    sample = torch.tensor([[4, 5, 6]] * 2)
    export(folder, "embed_tokens", embed.forward, {"input_ids": (sample, rows)}, {"inputs_embeds": rows}, model)

    def features(images: torch.Tensor) -> torch.Tensor:
        return model.model.multi_modal_projector(model.model.vision_tower(images).last_hidden_state)

    inputs = {"pixel_values": (torch.cat([pixels, pixels]), {0: "batch"})}
    export(folder, "vision_encoder", features, inputs, {"image_features": {0: "batch"}}, model)
    decoder = LlamaForCausalLM(text).eval()
    decoder.model.load_state_dict(model.model.language_model.state_dict())
    decoder.lm_head.load_state_dict(model.lm_head.state_dict())
    optimum_export(folder, decoder, "text-generation-with-past", ["model"])
    take_embeddings(folder)
    write_reference(folder, "image-text-to-text", cases)


def special_in(tokens: list[int], count: int) -> bool:
    return any(token < count for token in tokens)


def take_embeddings(folder: Path) -> None:
    """Makes the decoder's graph begin with the vectors of the tokens in place of their numbers."""
    path = folder / "onnx" / "model.onnx"
    model = onnx.load(path)
    graph = model.graph
    lookup = next(node for node in graph.node if node.op_type == "Gather" and node.input[1] == "input_ids")
    for node in graph.node:
        for at, name in enumerate(node.input):
            # The other uses look at the first two dimensions alone.
            if name in {"input_ids", lookup.output[0]}:
                node.input[at] = "inputs_embeds"
    graph.node.remove(lookup)
    for weight in [weight for weight in graph.initializer if weight.name == lookup.input[0]]:
        graph.initializer.remove(weight)
    for value in graph.input:
        if value.name == "input_ids":
            batch, sequence = (dim.dim_param for dim in value.type.tensor_type.shape.dim)
            shape = [batch, sequence, SMALL["hidden_size"]]
            value.CopyFrom(onnx.helper.make_tensor_value_info("inputs_embeds", onnx.TensorProto.FLOAT, shape))
    onnx.checker.check_model(model)
    path.unlink()
    write_graph(model, path.with_name("decoder_model_merged.onnx"))
