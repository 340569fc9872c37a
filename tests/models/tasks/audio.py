"""Tiny models that take or make sound, save Whisper."""

from __future__ import annotations

import itertools
import string
from pathlib import Path

import numpy as np
import torch
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    VitsConfig,
    VitsModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForSequenceClassification,
)

from .common import (
    UnclearError,
    byte_bpe,
    case,
    classes,
    clear,
    export,
    labelled,
    new_folder,
    optimum_export,
    seeded,
    sound,
    write_config,
    write_json,
    write_reference,
    write_tokenizer,
)

RATE = 16_000


def wav2vec2_config(**others: object) -> Wav2Vec2Config:
    return Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 8),
        conv_stride=(5, 8, 8),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        layerdrop=0.0,
        apply_spec_augment=False,
        **others,
    )


def write_wav2vec2_processor(folder: Path, **others: object) -> Wav2Vec2FeatureExtractor:
    extractor = Wav2Vec2FeatureExtractor(feature_size=1, sampling_rate=RATE, do_normalize=True)
    write_json(folder / "preprocessor_config.json", {**extractor.to_dict(), **others})
    return extractor


def legacy_tokenizer(folder: Path, kind: str, vocabulary: list[str], special: list[str], **parts: object) -> None:
    """A tokenizer of single letters, in the form that transformers.js' own converter gives it."""
    ids = {token: number for number, token in enumerate(vocabulary)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": ids[token], "content": token, **flags} for token in special]
    letters = {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": False}
    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": letters,
            "post_processor": None,
            "decoder": None,
            **parts,
            "model": {"vocab": ids},
        },
    )
    names = {f"{token[1:-1]}_token": token for token in special if token[0] == "<"}
    write_json(folder / "special_tokens_map.json", names)
    write_json(folder / "tokenizer_config.json", {**names, "model_max_length": 128, "tokenizer_class": kind})


def tiny_wav2vec2_ctc() -> None:
    folder = new_folder("tiny-wav2vec2-ctc")
    extractor = write_wav2vec2_processor(folder, processor_class="Wav2Vec2Processor")
    special = ["<pad>", "<unk>"]
    vocabulary = [*special, "|", "'", *string.ascii_uppercase]
    legacy_tokenizer(
        folder,
        "Wav2Vec2CTCTokenizer",
        vocabulary,
        special,
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "|"},
        decoder={"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
    )
    waves = extractor(sound("tones-16k.wav"), sampling_rate=RATE, return_tensors="pt")["input_values"]

    def build(seed: int) -> tuple:
        model = seeded(
            lambda: Wav2Vec2ForCTC(wav2vec2_config(vocab_size=len(vocabulary), pad_token_id=0)), seed, gain=2
        )
        model.lm_head.bias[1] = -50
        scores = model(waves).logits[0]
        best = scores.topk(2).values
        if (best[:, 0] - best[:, 1]).min() < 0.003:
            raise UnclearError("two letters are nearly as likely")
        ids = scores.argmax(-1).tolist()
        letters = [vocabulary[number] for number, _ in itertools.groupby(ids) if number != 0]
        # Nothing that hangs on whether blanks are dropped first.
        without = [vocabulary[number] for number, _ in itertools.groupby(number for number in ids if number != 0)]
        text = "".join(letters).replace("|", " ").strip()
        if letters != without or len(set(text)) < 4 or " " not in text or "  " in text or 0 not in ids:
            raise UnclearError("no good text")
        return model, [case("tones", {"audio": "tones-16k.wav"}, {"transcript": {"text": text, "language": ""}})]

    model, cases = clear(build, tries=1000)
    write_config(folder, model)
    optimum_export(folder, model, "automatic-speech-recognition", ["model"])
    write_reference(folder, "automatic-speech-recognition", cases)


def tiny_wav2vec2_keywords() -> None:
    folder = new_folder("tiny-wav2vec2-keywords")
    extractor = write_wav2vec2_processor(folder)
    labels = ["yes", "no", "up", "down", "left", "right"]

    def build(seed: int) -> tuple:
        config = wav2vec2_config(**labelled(*labels))
        model = seeded(lambda: Wav2Vec2ForSequenceClassification(config), seed)
        model.classifier.weight.mul_(2)

        def scores(wave: np.ndarray) -> torch.Tensor:
            values = extractor(wave, sampling_rate=RATE, return_tensors="pt")["input_values"]
            return model(values).logits[0].softmax(-1)

        item = {"audio": "tones-16k.wav"}
        output = classes(labels, scores(sound("tones-16k.wav")))
        return model, [
            case("the best five", item, output),
            case("the best two", item, {"classes": output["classes"][:2]}, {"top_k": 2}),
        ]

    model, cases = clear(build, tries=400)
    write_config(folder, model)
    optimum_export(folder, model, "audio-classification", ["model"])
    write_reference(folder, "audio-classification", cases)


def tiny_vits() -> None:
    folder = new_folder("tiny-vits")
    # The first one stands between letters.
    vocabulary = ["_", " ", *string.ascii_lowercase, "'", "-"]
    kept = "".join(vocabulary)
    legacy_tokenizer(
        folder,
        "VitsTokenizer",
        vocabulary,
        [],
        normalizer={
            "type": "Sequence",
            "normalizers": [
                {"type": "Lowercase"},
                {"type": "Replace", "pattern": {"Regex": f"[^{kept[1:]}]"}, "content": ""},
                {"type": "Strip", "strip_left": True, "strip_right": True},
                {"type": "Replace", "pattern": {"Regex": "(?=.)|(?<!^)$"}, "content": "_"},
            ],
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_blank": True,
            "model_max_length": 128,
            "normalize": True,
            "pad_token": "_",
            "phonemize": False,
            "tokenizer_class": "VitsTokenizer",
        },
    )
    config = VitsConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        window_size=4,
        ffn_dim=32,
        flow_size=16,
        spectrogram_bins=33,
        posterior_encoder_num_wavenet_layers=1,
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=1,
        upsample_initial_channel=16,
        upsample_rates=[8, 4],
        upsample_kernel_sizes=[16, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        use_stochastic_duration_prediction=False,
        duration_predictor_filter_channels=16,
        noise_scale=0.0,
        noise_scale_duration=0.0,
        sampling_rate=RATE,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        layerdrop=0.0,
        pad_token_id=0,
    )

    def build(seed: int) -> tuple:
        model = seeded(lambda: VitsModel(config), seed)
        lengths: list[torch.Tensor] = []
        model.duration_predictor.register_forward_hook(lambda _module, _inputs, output: lengths.append(output))
        cases = []
        for text in ["A cat sings.", "one two"]:
            letters = [letter for letter in text.lower() if letter in vocabulary]
            ids = [0, *itertools.chain.from_iterable((vocabulary.index(letter), 0) for letter in letters)]
            wave = model(input_ids=torch.tensor([ids])).waveform[0].numpy()
            seconds = lengths.pop().exp()
            if (seconds - seconds.round()).abs().min() < 0.005:
                raise UnclearError("a length is nearly another one")
            if wave.std() < 0.02 or np.abs(wave).mean() > 0.8 or not 1000 < len(wave) < 20_000:
                raise UnclearError("no good sound")
            places = np.linspace(100, len(wave) - 100, 16).astype(int).tolist()
            output = {"rate": RATE, "length": len(wave), "samples": [[at, float(wave[at])] for at in places]}
            cases.append(case(text, {"text": text}, {"audio": output}))
        return model, cases

    model, cases = clear(build, tries=200)
    write_config(folder, model)
    optimum_export(folder, model, "text-to-audio", ["model"])
    write_reference(folder, "text-to-audio", cases)


def tiny_clap() -> None:
    folder = new_folder("tiny-clap")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = write_tokenizer(
        folder,
        byte_bpe(320, special, before=["<s>"], after=["</s>"]),
        "RobertaTokenizer",
        48,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
    # A window of 1 s.
    extractor = ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=RATE,
        hop_length=320,
        max_length_s=1,
        fft_window_size=512,
        frequency_min=50,
        frequency_max=8000,
        truncation="rand_trunc",
        padding="repeatpad",
    )
    own = {key: value for key, value in extractor.to_dict().items() if not key.startswith("mel_filters")}
    write_json(folder / "preprocessor_config.json", {**own, "processor_class": "ClapProcessor"})
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 50,
        "type_vocab_size": 1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 1,
    }
    audio = {
        "spec_size": 32,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "window_size": 4,
        "depths": [1, 1],
        "num_attention_heads": [2, 4],
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "patch_embeds_hidden_size": 16,
        "enable_fusion": False,
        "num_classes": 8,
        "drop_path_rate": 0.0,
    }
    labels = ["rain", "a dog", "music"]
    features = extractor(sound("tones-16k.wav"), sampling_rate=RATE, return_tensors="pt")["input_features"]

    def build(seed: int) -> tuple:
        config = ClapConfig(text_config=text, audio_config=audio, projection_dim=16)
        model = seeded(lambda: ClapModel(config), seed)

        def scores(template: str) -> torch.Tensor:
            texts = [template.replace("{}", label) for label in labels]
            inputs = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
            return model(**inputs, input_features=features).logits_per_audio[0].softmax(-1)

        item, choice = {"audio": "tones-16k.wav"}, {"candidate_labels": labels}
        other = "{}!"
        return model, [
            case("usual sentence", item, classes(labels, scores("This is a sound of {}.")), choice),
            case("own sentence", item, classes(labels, scores(other)), {**choice, "hypothesis_template": other}),
        ]

    model, cases = clear(build)
    write_config(folder, model)

    def judged(ids: torch.Tensor, mask: torch.Tensor, waves: torch.Tensor) -> tuple:
        outputs = model(input_ids=ids, attention_mask=mask, input_features=waves)
        return outputs.logits_per_audio, outputs.logits_per_text, outputs.text_embeds, outputs.audio_embeds

    sample = tokenizer(labels, padding=True, return_tensors="pt")
    rows = {0: "text_batch", 1: "sequence"}
    inputs = {
        "input_ids": (sample["input_ids"], rows),
        "attention_mask": (sample["attention_mask"], rows),
        "input_features": (features, {0: "audio_batch"}),
    }
    outputs = {
        "logits_per_audio": {0: "audio_batch", 1: "text_batch"},
        "logits_per_text": {0: "text_batch", 1: "audio_batch"},
        "text_embeds": {0: "text_batch"},
        "audio_embeds": {0: "audio_batch"},
    }
    export(folder, "model", judged, inputs, outputs, model)
    write_reference(folder, "zero-shot-audio-classification", cases)
