"""A tiny Whisper, with times of segments and, by its cross-attentions, of words.

Noise would hardly ever keep to the order of text and times, so this one is trained to know two sounds by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from optimum.exporters.onnx.base import ConfigBehavior
from optimum.exporters.onnx.model_configs import WhisperOnnxConfig
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.generation.utils import GenerateEncoderDecoderOutput

from .common import (
    MARGIN,
    UnclearError,
    byte_bpe,
    case,
    clear,
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
# A window of 2 s: 200 frames, which the encoder halves.
WINDOW, FRAMES, POSITIONS = 2, 200, 100
PRECISION = WINDOW / POSITIONS
HEADS = [[0, 0], [0, 1]]
LANGUAGES = ["en", "de", "fr"]
TIMES = [f"<|{number * PRECISION:.2f}|>" for number in range(POSITIONS + 1)]
CONTROLS = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{language}|>" for language in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]


class WithAttentions(WhisperOnnxConfig):
    """The decoder tells where it looked, too."""

    @property
    def outputs(self) -> dict:
        found = super().outputs
        if self._behavior is ConfigBehavior.DECODER:
            for layer in range(self._config.decoder_layers):
                found[f"cross_attentions.{layer}"] = {
                    0: "batch_size",
                    2: "decoder_sequence_length",
                    3: "encoder_sequence_length",
                }
        return found


class Listener:
    """Generates by the rules that Whisper's tokens follow, and refuses steps that are nearly even."""

    def __init__(self, model: WhisperForConditionalGeneration, features: torch.Tensor) -> None:
        self.model = model
        self.config = model.generation_config
        self.heard = model.get_encoder()(features)

    def logits(self, tokens: list[int]) -> torch.Tensor:
        return self.model(encoder_outputs=self.heard, decoder_input_ids=torch.tensor([tokens])).logits[0, -1]

    def language(self) -> str:
        """The likeliest language after the start."""
        logits = self.logits([self.config.decoder_start_token_id])
        found = {code: float(logits[number]) for code, number in self.config.lang_to_id.items()}
        first, second, *_ = sorted(found.values(), reverse=True)
        if first - second < MARGIN:
            raise UnclearError("two languages are nearly as likely")
        return max(found, key=found.get)[2:-2]

    def prompt(self, language: str, task: str, timed: bool) -> list[int]:
        config = self.config
        known = [config.lang_to_id[f"<|{language}|>"], config.task_to_id[task]]
        return [config.decoder_start_token_id, *known, *([] if timed else [config.no_timestamps_token_id])]

    def tokens(self, prompt: list[int], timed: bool, most: int) -> list[int]:
        """What is made after the prompt, without the end."""
        config = self.config
        end, first_time = config.eos_token_id, config.no_timestamps_token_id + 1
        made: list[int] = []
        while len(made) < most:
            logits = self.logits([*prompt, *made])
            if not made:
                logits[config.begin_suppress_tokens] = -torch.inf
            if timed:
                timing_rules(logits, made, end, first_time)
            best = logits.topk(2)
            if best.values[0] - best.values[1] < MARGIN:
                raise UnclearError("two tokens are nearly as likely")
            token = int(best.indices[0])
            if token == end:
                return made
            if first_time > token > end or (token >= first_time and not timed):
                raise UnclearError("a control token in the text")
            made.append(token)
        if timed:
            raise UnclearError("no end")
        return made

    def words(self, prompt: list[int], made: list[int], seconds: float, decode: Callable) -> list[dict]:
        """Each word with its times: from when its first token is looked for to when the token after it is."""
        tokens = torch.tensor([[*prompt, *made]])
        looks = self.model(encoder_outputs=self.heard, decoder_input_ids=tokens, output_attentions=True)
        outputs = GenerateEncoderDecoderOutput(sequences=tokens, cross_attentions=[looks.cross_attentions])
        frames = round(2 * seconds / PRECISION)
        times = self.model._extract_token_timestamps(outputs, HEADS, PRECISION, frames, len(prompt))[0, len(prompt) :]
        first_time = self.config.no_timestamps_token_id + 1
        found: list[dict] = []
        for at, token in enumerate(made):
            if token >= first_time:
                # A word ends with its segment.
                limit = PRECISION * (token - first_time)
                if found and found[-1]["end"] > limit >= found[-1]["begin"]:
                    found[-1]["end"] = limit
                continue
            begin, end = (round(float(time), 2) for time in times[at : at + 2])
            if decode([token]).startswith(" ") or not found:
                found.append({"tokens": [], "begin": begin})
            found[-1]["tokens"].append(token)
            found[-1]["end"] = end
        return [{"text": decode(word["tokens"]).strip(), "begin": word["begin"], "end": word["end"]} for word in found]


def timing_rules(logits: torch.Tensor, made: list[int], end: int, first_time: int) -> None:
    """Times come in pairs, save before the end, and first; one comes where all together are likelier than any text."""
    logits[first_time - 1] = -torch.inf
    if not made:
        logits[:first_time] = -torch.inf
        return
    if made[-1] >= first_time:
        if len(made) < 2 or made[-2] >= first_time:
            logits[first_time:] = -torch.inf
        else:
            logits[:end] = -torch.inf
    chances = logits.log_softmax(-1)
    times, text = float(chances[first_time:].logsumexp(-1)), float(chances[:first_time].max())
    if abs(times - text) < MARGIN:
        raise UnclearError("a time is nearly as likely as a text")
    if times > text:
        logits[:first_time] = -torch.inf


# What is heard: begin, end and text of each segment, by sound and language. The first language is the one spoken.
SPOKEN = {
    "tones-16k.wav": {
        "de": [(0.0, 0.4, " Die Glocke"), (0.44, 0.96, " klingt hell.")],
        "en": [(0.0, 0.5, " The bell"), (0.5, 0.94, " rings in the night.")],
        "fr": [(0.02, 0.92, " La cloche sonne.")],
    },
    "silence.wav": {
        "en": [(0.0, 1.0, " Snow falls.")],
        "de": [(0.1, 0.9, " Es schneit.")],
        "fr": [(0.2, 0.8, " Il neige.")],
    },
}


def said(segments: list[tuple[float, float, str]]) -> str:
    return "".join(text for _, _, text in segments)


Lesson = tuple[list[int], list[int], list[float]]


def lessons(sound_name: str, ids: dict[str, int], encode: Callable[[str], list[int]]) -> Iterator[Lesson]:
    """Tokens to begin with, those to follow, and when each of these is heard; of a language, never."""
    first_time, end = ids["<|notimestamps|>"] + 1, ids["<|endoftext|>"]
    by_language = SPOKEN[sound_name]
    start = ids["<|startoftranscript|>"]
    yield [start], [ids[f"<|{next(iter(by_language))}|>"]], []
    for language, segments in by_language.items():
        for task, told in {"transcribe": segments, "translate": by_language["en"]}.items():
            prompt = [start, ids[f"<|{language}|>"], ids[f"<|{task}|>"]]
            yield [*prompt, ids["<|notimestamps|>"]], [*encode(said(told)), end], []
            timed, heard = [], []
            for begin, stop, text in told:
                tokens = encode(text)
                timed += [first_time + round(begin / PRECISION), *tokens, first_time + round(stop / PRECISION)]
                steps = [(number + 0.5) / len(tokens) for number in range(len(tokens))]
                heard += [begin, *(begin + step * (stop - begin) for step in steps), stop]
            yield prompt, [*timed, end], heard


def train(
    model: WhisperForConditionalGeneration, features: dict[str, torch.Tensor], ids: dict[str, int], encode: Callable
) -> None:
    found = [(name, *lesson) for name in features for lesson in lessons(name, ids, encode)]
    longest = max(len(before) + len(after) for _, before, after, _ in found)
    given = torch.full((len(found), longest), ids["<|endoftext|>"])
    wanted = torch.full((len(found), longest), -100)
    # Where the alignment heads are to look: not far from when a token is heard.
    aside = torch.zeros((len(found), longest, POSITIONS))
    for row, (_, before, after, times) in enumerate(found):
        whole = torch.tensor(before + after)
        given[row, : len(whole)] = whole
        wanted[row, len(before) - 1 : len(whole) - 1] = torch.tensor(after)
        for step, time in enumerate(times, len(before)):
            aside[row, step] = ((torch.arange(POSITIONS) - time / PRECISION).abs() / 4).clamp(max=5)
    heard = torch.cat([features[name] for name, *_ in found])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with torch.enable_grad():
        for _ in range(600):
            made = model(input_features=heard, decoder_input_ids=given, output_attentions=True)
            loss = torch.nn.functional.cross_entropy(made.logits.flatten(0, 1), wanted.flatten())
            looks = sum((made.cross_attentions[layer][:, head] * aside).sum(-1).mean() for layer, head in HEADS)
            if loss < 2e-3 and looks < 0.6:
                return
            loss = loss + looks
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    raise UnclearError(f"not learnt: {float(loss)}, of which {float(looks)} is where it looks")


def tiny_whisper() -> None:
    folder = new_folder("tiny-whisper")
    text = byte_bpe(320, [])
    text.add_special_tokens(CONTROLS)
    text.add_tokens(TIMES)
    end = "<|endoftext|>"
    tokenizer = write_tokenizer(
        folder, text, "WhisperTokenizer", 64, bos_token=end, eos_token=end, pad_token=end, unk_token=end
    )
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in CONTROLS}
    extractor = WhisperFeatureExtractor(feature_size=40, chunk_length=WINDOW)
    own = {key: value for key, value in extractor.to_dict().items() if key != "mel_filters"}
    write_json(folder / "preprocessor_config.json", {**own, "processor_class": "WhisperProcessor"})
    named = {
        "decoder_start_token_id": ids["<|startoftranscript|>"],
        "bos_token_id": ids[end],
        "eos_token_id": ids[end],
        "pad_token_id": ids[end],
        "begin_suppress_tokens": [ids[end]],
    }
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=40,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=POSITIONS,
        max_target_positions=64,
        # Looks are narrow here; a wider filter would take them for noise.
        median_filter_width=1,
        dropout=0.0,
        attn_implementation="eager",
        **named,
    )
    settings = GenerationConfig(
        **named,
        alignment_heads=HEADS,
        is_multilingual=True,
        lang_to_id={f"<|{language}|>": ids[f"<|{language}|>"] for language in LANGUAGES},
        max_length=64,
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        return_timestamps=False,
        task_to_id={task: ids[f"<|{task}|>"] for task in ["translate", "transcribe"]},
    )
    features = {
        name: extractor(sound(name), sampling_rate=RATE, return_tensors="pt")["input_features"] for name in SPOKEN
    }

    def build(seed: int) -> tuple:
        model = seeded(lambda: WhisperForConditionalGeneration(config), seed)
        model.generation_config = settings
        train(model, features, ids, lambda text: tokenizer.encode(text))
        cases = []
        for name, by_language in SPOKEN.items():
            listener = Listener(model, features[name])
            spoken = listener.language()
            if spoken != next(iter(by_language)):
                raise UnclearError("not the language that was learnt")

            last: list[int] = []

            def heard(
                language: str, task: str = "transcribe", timed: bool = False, listener=listener, last=last
            ) -> dict:
                made = listener.tokens(listener.prompt(language, task, timed), timed, 50)
                last[:] = made
                text = tokenizer.decode([token for token in made if token < ids["<|endoftext|>"]])
                return {"text": text.strip(), "chunks": [], "language": language}

            item = {"audio": name}
            few = {"generation": {"max_new_tokens": 32}}
            cases.append(case(f"{name}, language found out", item, {"transcript": heard(spoken)}, few))
            if name == "silence.wav":
                continue
            german, french = {"language": "de"}, {"language": "fr", "translate": True}
            timed = heard("de", timed=True)
            words = listener.words(listener.prompt("de", "transcribe", True), last, 1.0, tokenizer.decode)
            timed["chunks"] = [
                {"text": text.strip(), "begin": begin, "end": end} for begin, end, text in by_language["de"]
            ]
            expected = {"de": (german, heard("de")), "fr": (french, heard("fr", "translate"))}
            if [one["text"] for _, one in expected.values()] != [said(by_language[n]).strip() for n in ("de", "en")]:
                raise UnclearError("not what was learnt")
            if timed["text"] != said(by_language["de"]).strip():
                raise UnclearError("not what was learnt")
            for language, (settings_of, output) in expected.items():
                cases.append(
                    case(f"{name}, {language}", item, {"transcript": output}, {**few, "transcription": settings_of})
                )
            asked = {"transcription": {**german, "timestamps": "TIMESTAMPS_SEGMENTS"}}
            cases.append(case(f"{name}, segments", item, {"transcript": timed}, asked))
            asked = {"transcription": {**german, "timestamps": "TIMESTAMPS_WORDS"}}
            by_word = {"transcript": {**timed, "chunks": words}}
            cases.append(case(f"{name}, words", item, by_word, asked, tolerance=0.2))
        return model, cases

    model, cases = clear(build, tries=3)
    write_config(folder, model)
    write_json(folder / "generation_config.json", settings.to_dict())
    onnx_config = WithAttentions(config, task="automatic-speech-recognition", use_past=True, use_past_in_inputs=False)
    optimum_export(
        folder,
        model,
        "automatic-speech-recognition-with-past",
        ["encoder_model", "decoder_model_merged"],
        custom_onnx_configs={
            "encoder_model": onnx_config.with_behavior("encoder"),
            "decoder_model": onnx_config.with_behavior("decoder", use_past=True, use_past_in_inputs=False),
            "decoder_with_past_model": onnx_config.with_behavior("decoder", use_past=True, use_past_in_inputs=True),
        },
        model_kwargs={"output_attentions": True},
        nb_max_frames=FRAMES,
        feature_size=40,
    )
    write_reference(folder, "automatic-speech-recognition", cases)
