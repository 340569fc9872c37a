"""Tiny models that take text."""

from __future__ import annotations

import itertools
import shutil

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertTokenizerFast,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from .common import (
    MODELS,
    UnclearError,
    apart,
    byte_bpe,
    case,
    classes,
    clear,
    generated,
    greedy,
    hide_bytes,
    labelled,
    new_folder,
    optimum_export,
    seeded,
    unigram,
    write_config,
    write_reference,
    write_tokenizer,
)

TEXTS = ["The cat sleeps on the warm window.", "A dog runs in the snow, and the king and the queen sing!"]


def bert_tokenizer() -> BertTokenizerFast:
    return BertTokenizerFast.from_pretrained(MODELS / "tiny-bert")


def bert_config(**others: object) -> BertConfig:
    return BertConfig(
        vocab_size=len(bert_tokenizer()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **others,
    )


def finish_bert(name: str, model: PreTrainedModel, exported: str, task: str, cases: list[dict]) -> None:
    folder = new_folder(name)
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
        shutil.copyfile(MODELS / "tiny-bert" / file, folder / file)
    write_config(folder, model)
    optimum_export(folder, model, exported, ["model"])
    write_reference(folder, task, cases)


def tiny_bert_sentiment() -> None:
    tokenizer = bert_tokenizer()
    labels = ["negative", "neutral", "positive"]

    def build(seed: int) -> tuple:
        model = seeded(lambda: BertForSequenceClassification(bert_config(**labelled(*labels))), seed)
        cases = []
        for number, text in enumerate([*TEXTS, "rain"]):
            scores = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1)
            cases.append(case(f"text {number}", {"text": text}, classes(labels, scores)))
        if len({one["output"]["classes"][0]["label"] for one in cases}) < 2:
            raise UnclearError("all texts are the same")
        scores = cases[0]["output"]["classes"][:2]
        return model, [*cases, case("the best two", {"text": TEXTS[0]}, {"classes": scores}, {"top_k": 2})]

    model, cases = clear(build)
    finish_bert("tiny-bert-sentiment", model, "text-classification", "text-classification", cases)


def tiny_bert_nli() -> None:
    tokenizer = bert_tokenizer()
    labels = ["music", "money", "the sea"]

    def build(seed: int) -> tuple:
        config = bert_config(**labelled("contradiction", "neutral", "entailment"))
        model = seeded(lambda: BertForSequenceClassification(config), seed)

        def logits(template: str) -> torch.Tensor:
            pairs = [tokenizer(TEXTS[0], template.replace("{}", label), return_tensors="pt") for label in labels]
            return torch.cat([model(**pair).logits for pair in pairs])

        usual, other = "This example is {}.", "It is about {}!"
        item = {"text": TEXTS[0]}
        choice = {"candidate_labels": labels}
        return model, [
            case("one of them", item, classes(labels, logits(usual)[:, 2].softmax(-1)), choice),
            case(
                "each alone",
                item,
                classes(labels, logits(usual)[:, [0, 2]].softmax(-1)[:, 1]),
                {**choice, "multi_label": True},
            ),
            case(
                "own sentence",
                item,
                classes(labels, logits(other)[:, 2].softmax(-1)),
                {**choice, "hypothesis_template": other},
            ),
        ]

    model, cases = clear(build)
    finish_bert("tiny-bert-nli", model, "text-classification", "zero-shot-classification", cases)


def tiny_bert_reranker() -> None:
    tokenizer = bert_tokenizer()
    query = "Who runs in the snow?"
    documents = ["A dog runs in the snow.", "The bank has money.", "The king walks by the river at night.", "Snow"]

    def build(seed: int) -> tuple:
        model = seeded(lambda: BertForSequenceClassification(bert_config(num_labels=1)), seed)
        pairs = [tokenizer(query, document, return_tensors="pt") for document in documents]
        scores = [model(**pair).logits[0, 0].sigmoid().item() for pair in pairs]
        apart(scores)
        ranking = [{"index": at, "score": scores[at]} for at in sorted(range(len(scores)), key=lambda at: -scores[at])]
        item = {"query": {"text": query, "documents": documents}}
        return model, [
            case("all", item, {"ranking": ranking}),
            case("the best two", item, {"ranking": ranking[:2]}, {"top_k": 2}),
        ]

    model, cases = clear(build)
    finish_bert("tiny-bert-reranker", model, "text-classification", "reranking", cases)


def tiny_bert_ner() -> None:
    tokenizer = bert_tokenizer()
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
    text = "The king and the queen walk by the river at night."

    def build(seed: int) -> tuple:
        model = seeded(lambda: BertForTokenClassification(bert_config(**labelled(*labels))), seed, gain=2)
        inputs = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
        offsets = inputs.pop("offset_mapping")[0].tolist()
        scores = model(**inputs).logits[0].softmax(-1)
        best = scores.topk(2).values
        if (best[:, 0] - best[:, 1]).min() < 0.03:
            raise UnclearError("two labels are nearly as likely")
        tokens, groups, previous = [], [], ""
        for at, (begin, end) in enumerate(offsets):
            label = labels[scores[at].argmax()]
            if label == "O" or begin == end:
                continue
            token = {"label": label, "score": scores[at].max().item(), "begin": begin, "end": end}
            tokens.append({**token, "text": text[begin:end].lower()})
            # As transformers.js has it, tokens between that are "O" do not part two of one entity.
            if previous == label[2:] and label[0] == "I":
                groups[-1].append((at, token))
            else:
                groups.append([(at, token)])
            previous = label[2:]
        contiguous = all(b[0] == a[0] + 1 for group in groups for a, b in itertools.pairwise(group))
        longest = max((len(group) for group in groups), default=0)
        if not contiguous or longest < 2 or len(tokens) < 4 or len(tokens) > 9:
            raise UnclearError("no good mix of labels")
        simple = []
        for group in groups:
            begin, end = group[0][1]["begin"], group[-1][1]["end"]
            score = sum(token["score"] for _, token in group) / len(group)
            simple.append({"label": group[0][1]["label"][2:], "score": score, "text": text[begin:end].lower()})
            simple[-1].update(begin=begin, end=end)
        return model, [
            case("tokens", {"text": text}, {"spans": tokens}),
            case("together", {"text": text}, {"spans": simple}, {"aggregation": "AGGREGATION_SIMPLE"}),
        ]

    model, cases = clear(build, tries=400)
    finish_bert("tiny-bert-ner", model, "token-classification", "token-classification", cases)


def tiny_bert_qa() -> None:
    tokenizer = bert_tokenizer()
    question, context = (
        "Who walks by the river?",
        "The moon is white, and the king and the queen walk by the river at night.",
    )

    def build(seed: int) -> tuple:
        model = seeded(lambda: BertForQuestionAnswering(bert_config()), seed, gain=2)
        model.qa_outputs.weight.mul_(2)
        inputs = tokenizer(question, context, return_tensors="pt")
        outputs = model(**inputs)
        ids = inputs["input_ids"][0]
        kept = (inputs["token_type_ids"][0] == 1) & (ids != tokenizer.sep_token_id)
        # The first token stands for "no answer": it takes part in the sum, and is no answer.
        kept[0] = True

        def chances(logits: torch.Tensor) -> torch.Tensor:
            scores = logits[0].masked_fill(~kept, -torch.inf).softmax(-1)
            if scores[0] > 3e-3:
                raise UnclearError("there is no answer")
            return scores

        starts, ends = chances(outputs.start_logits), chances(outputs.end_logits)
        found = [
            (float(starts[a] * ends[b]), a, b)
            for a in range(1, len(ids))
            for b in range(a, len(ids))
            if kept[a] and kept[b]
        ]
        best = sorted(found, reverse=True)[:4]
        apart([score for score, _, _ in best])
        answers = [{"text": tokenizer.decode(ids[a : b + 1]), "score": score} for score, a, b in best[:3]]
        if len(answers[0]["text"]) > 40 or best[2][0] < 0.02:
            raise UnclearError("no good answer")
        item = {"question": {"text": question, "context": context}}
        return model, [
            case("the best", item, {"answers": answers[:1]}),
            case("the best three", item, {"answers": answers}, {"top_k": 3}),
        ]

    model, cases = clear(build, tries=4000)
    finish_bert("tiny-bert-qa", model, "question-answering", "question-answering", cases)


def tiny_bert_mlm() -> None:
    tokenizer = bert_tokenizer()

    def build(seed: int) -> tuple:
        model = seeded(lambda: BertForMaskedLM(bert_config()), seed)
        # Words' vectors are their weights too: smaller, so that not one word has it all.
        model.bert.embeddings.word_embeddings.weight.mul_(0.5)
        cases = []
        for text, count in {"The [MASK] sleeps on the window.": 5, "Money and the [MASK] rate": 2}.items():
            inputs = tokenizer(text, return_tensors="pt")
            ids = inputs["input_ids"][0]
            at = ids.tolist().index(tokenizer.mask_token_id)
            scores = model(**inputs).logits[0, at].softmax(-1)
            values, tokens = scores.topk(count + 1)
            apart(values.tolist(), 0.005)
            fills = []
            for token, score in zip(tokens[:count].tolist(), values.tolist(), strict=False):
                word = tokenizer.convert_ids_to_tokens(token)
                if token < len(tokenizer.all_special_ids) or word.startswith("##"):
                    raise UnclearError("not a word")
                ids[at] = token
                sequence = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
                fills.append({"token": word, "token_id": token, "score": score, "sequence": sequence})
            cases.append(
                case(f"{count} words", {"text": text}, {"fills": fills}, {} if count == 5 else {"top_k": count})
            )
        return model, cases

    model, cases = clear(build, tries=400)
    finish_bert("tiny-bert-mlm", model, "fill-mask", "fill-mask", cases)


CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_llama() -> None:
    special = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
    folder = new_folder("tiny-llama")
    tokenizer = write_tokenizer(
        folder,
        byte_bpe(360, special, before=["<s>"]),
        "LlamaTokenizer",
        256,
        add_bos_token=True,
        add_eos_token=False,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=CHAT_TEMPLATE,
    )
    chat = [{"role": "system", "content": "Sing."}, {"role": "user", "content": "How do I read this book?"}]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )

    def build(seed: int) -> tuple:
        model = seeded(lambda: LlamaForCausalLM(config), seed, gain=2)
        hide_bytes(model.lm_head.weight, tokenizer)

        def made(ids: torch.Tensor, count: int, **others: object) -> dict:
            tokens = greedy(model, input_ids=ids, max_new_tokens=count, **others)[ids.shape[1] :]
            return generated(tokenizer.decode(tokens, skip_special_tokens=True), ids.shape[1], len(tokens))

        text = "The cat sleeps"
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        asked = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        messages = [{"role": one["role"], "parts": [{"text": one["content"]}]} for one in chat]
        long = made(ids, 12)
        if len(set(tokens_of(long))) < 4 or long["generated"]["generated_tokens"] < 12:
            raise UnclearError("too monotonous")
        other = made(ids, 12, repetition_penalty=2.0)
        if other == long:
            raise UnclearError("nothing is repeated")
        return model, [
            case("text", {"text": text}, long, {"generation": {"max_new_tokens": 12}}),
            case("chat", {"chat": messages}, made(asked, 8), {"generation": {"max_new_tokens": 8}}),
            case(
                "without repetition",
                {"text": text},
                other,
                {"generation": {"max_new_tokens": 12, "repetition_penalty": 2.0}},
            ),
        ]

    model, cases = clear(build, tries=400)
    write_config(folder, model)
    optimum_export(folder, model, "text-generation-with-past", ["model"])
    write_reference(folder, "text-generation", cases)


def tokens_of(output: dict) -> list[str]:
    return output["generated"]["text"].split()


def tiny_t5() -> None:
    folder = new_folder("tiny-t5")
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer = write_tokenizer(
        folder,
        unigram(300, special),
        "T5Tokenizer",
        128,
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=4,
        dropout_rate=0.0,
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        n_positions=128,
        task_specific_params={"summarization": {"prefix": "summarize: "}, "translation": {"prefix": "translate: "}},
    )

    def build(seed: int) -> tuple:
        model = seeded(lambda: T5ForConditionalGeneration(config), seed, gain=2)
        cases = []
        for number, text in enumerate(["The house is small.", "translate English to German: A dog runs in the snow."]):
            inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            tokens = greedy(model, **inputs, max_new_tokens=10)[1:]
            words = tokenizer.decode(tokens, skip_special_tokens=True)
            if len(set(tokens)) < 5:
                raise UnclearError("too monotonous")
            output = generated(words, inputs["input_ids"].shape[1], len(tokens))
            cases.append(case(f"text {number}", {"text": text}, output, {"generation": {"max_new_tokens": 10}}))
        if cases[0]["output"]["generated"]["text"] == cases[1]["output"]["generated"]["text"]:
            raise UnclearError("both are the same")
        return model, cases

    model, cases = clear(build, tries=400)
    write_config(folder, model)
    optimum_export(folder, model, "text2text-generation-with-past", ["encoder_model", "decoder_model_merged"])
    write_reference(folder, "text2text-generation", cases)
