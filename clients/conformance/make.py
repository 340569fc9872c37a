"""Makes cases.json: what every client has to do with the service. Outputs come from the references of tests/models.

python make.py            writes the file
python make.py --check    fails where the file here is another
"""

from __future__ import annotations

import base64
import json
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "tests" / "models"

BERT, IDENTITY, TYPES, ADD, LLAMA = (f"{{client}}.{name}" for name in ("bert", "identity", "types", "add", "llama"))
WIDTHS = {"FLOAT32": 4, "FLOAT16": 2, "INT64": 8, "INT32": 4, "INT8": 1, "UINT8": 1, "BOOL": 1}

#: One model for each kind of output.
OUTPUTS = [
    "tiny-bert-sentiment",
    "tiny-bert-nli",
    "tiny-bert-reranker",
    "tiny-bert-ner",
    "tiny-bert-qa",
    "tiny-bert-mlm",
    "tiny-vit",
    "tiny-yolos",
    "tiny-segformer",
    "tiny-depth",
    "tiny-matting",
    "tiny-whisper",
    "tiny-vits",
    "tiny-donut",
    "tiny-vlm",
]

cases: list[dict] = []
models: list[dict] = []


def reference(model: str) -> dict:
    return json.loads((MODELS / model / "reference.json").read_text())


def model(name: str, source: str, **wishes: object) -> str:
    models.append({"id": f"{{client}}.{name}", "source": source, "replicas": 1, **wishes})
    return f"{{client}}.{name}"


def case(name: str, call: str, expect: dict, **more: object) -> None:
    cases.append({"name": name, "call": call, **more, "expect": expect})


def request(model: str, items: list[dict], parameters: dict | None = None, **more: object) -> dict:
    return {"model": model, "items": items, **({"parameters": parameters} if parameters else {}), **more}


def texts(*all_of_them: str) -> list[dict]:
    return [{"text": text} for text in all_of_them]


def tensor(data_type: str, shape: list[int], data: str) -> dict:
    return {"dataType": f"DATA_TYPE_{data_type}", "shape": [str(size) for size in shape], "data": data}


def tensors(**named: dict) -> dict:
    return {"tensors": {"tensors": named}}


def packed(form: str, *values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}{form}", *values)).decode()


def refused(code: str, reason: str, *fields: str) -> dict:
    return {"error": {"code": code, "reason": reason, **({"fields": list(fields)} if fields else {})}}


def answer(*results: dict, **more: object) -> dict:
    return {"response": {"results": list(results), **more}}


def vector(values: list[float] | str) -> dict:
    return {"embedding": values if values == "@any" else {"values": values}}


def unary() -> None:
    bert = reference("tiny-bert")
    sentences, vectors = bert["sentences"], bert["fp32"]
    record = {
        "backendUsed": "BACKEND_WASM",
        "hardware": "HARDWARE_CPU",
        "dtype": "fp32",
        "browser": "@any",
        "browserVersion": "@any",
        "modelSha256": "@any",
        "timings": "@any",
    }
    case(
        "unary/text",
        "infer",
        answer(vector(vectors[0]), executions=[record]),
        request=request(BERT, texts(sentences[0])),
    )
    case("unary/unicode", "infer", answer(vector(vectors[7])), request=request(BERT, texts(sentences[7])))
    case(
        "unary/priority",
        "infer",
        answer(vector("@any")),
        request=request(BERT, texts("high"), priority="PRIORITY_HIGH"),
    )
    case(
        "batch/8 texts",
        "infer",
        {**answer(*(vector(values) for values in vectors[:8])), "tolerance": 0.01},
        request=request(BERT, texts(*sentences[:8])),
    )
    case("parallel/32 at once", "infer", answer(vector("@any")), request=request(BERT, texts("at once")), times=32)
    case(
        "deadline/too short",
        "infer",
        {"error": {"code": "DEADLINE_EXCEEDED"}},
        request=request(BERT, texts("late")),
        timeout_ms=1,
    )
    case(
        "cancel/unary",
        "infer",
        {"error": {"code": "CANCELLED"}},
        request=request(BERT, texts("never")),
        cancel_after="send",
    )


def of_tensors() -> None:
    floats = tensor("FLOAT32", [4], packed("f", 1.5, -2, 0, 3e38))
    case("tensor/there and back", "infer", answer(tensors(y=floats)), request=request(IDENTITY, [tensors(x=floats)]))
    empty = tensor("FLOAT32", [0], "")
    case("tensor/empty", "infer", answer(tensors(y={"shape": ["0"]})), request=request(IDENTITY, [tensors(x=empty)]))
    both = tensors(
        a=tensor("FLOAT32", [1, 4], packed("f", 1, 2, 3, 4)), b=tensor("INT64", [1, 4], packed("q", 1, 2, 3, 4))
    )
    total = tensor("FLOAT32", [1, 4], packed("f", 2, 4, 6, 8))
    case("tensor/two types", "infer", answer(tensors(sum=total, shape="@any")), request=request(ADD, [both]))
    # Odd lengths, so that not all of them begin where their type would have them.
    each = {
        "float": tensor("FLOAT32", [3], packed("f", 1.5, -2, 3e38)),
        "float16": tensor("FLOAT16", [3], packed("e", 1.5, -2, 65504)),
        "int64": tensor("INT64", [3], packed("q", 1, -2, 2**63 - 1)),
        "int32": tensor("INT32", [3], packed("i", 1, -2, 2**31 - 1)),
        "int8": tensor("INT8", [3], packed("b", 1, -2, 127)),
        "uint8": tensor("UINT8", [3], packed("B", 1, 2, 255)),
        "bool": tensor("BOOL", [3], packed("?", True, False, True)),
    }
    expect = answer(tensors(**{f"{name}_too": sent for name, sent in each.items()}))
    case("tensor/all types there and back", "infer", expect, request=request(TYPES, [tensors(**each)]))
    large = tensor("FLOAT32", [4_194_304], "@ramp:16777216")
    same = {"dataType": "DATA_TYPE_FLOAT32", "shape": ["4194304"], "data": "@request"}
    case("tensor/16 MiB", "infer", answer(tensors(y=same)), request=request(IDENTITY, [tensors(x=large)]))
    for data_type, width in WIDTHS.items():
        three = tensor(data_type, [3], f"@zeros:{3 * width}")
        fits = answer(tensors(y={"dataType": "DATA_TYPE_FLOAT32", "shape": ["3"]}))
        expect = fits if data_type == "FLOAT32" else refused("INVALID_ARGUMENT", "BAD_INPUT")
        case(
            f"tensor/{data_type} where floats are wanted",
            "infer",
            expect,
            request=request(IDENTITY, [tensors(x=three)]),
        )


def errors() -> None:
    wrong = "INVALID_ARGUMENT"
    case(
        "error/unknown model",
        "infer",
        refused("NOT_FOUND", "MODEL_NOT_FOUND"),
        request=request("no-such-model", texts("x")),
    )
    number = tensors(n=tensor("INT64", [1], "@zeros:8"))
    case(
        "error/not loaded",
        "infer",
        refused("FAILED_PRECONDITION", "MODEL_NOT_LOADED"),
        request=request("greedy", [number]),
    )
    short = tensors(x=tensor("FLOAT32", [3], "@zeros:8"))
    huge = tensors(x=tensor("FLOAT32", [10_485_760], "@zeros:41943040"))
    for name, field, asked in [
        ("no items", "items", request(BERT, [])),
        ("wrong kind", "items[1].input", request(BERT, [*texts("x"), tensors()])),
        ("parameter that the task has not", "parameters.top_k", request(BERT, texts("x"), {"topK": 3})),
        ("long text", "items[0].text", request(BERT, texts("@letters:262145"))),
        ("length of a tensor", 'items[0].tensors.tensors["x"].data', request(IDENTITY, [short])),
        ("broken picture", "items[0].image.encoded", request("{client}.vit", [image("truncated.png")])),
        ("picture that is too large", "items[0].image.encoded", request("{client}.vit", [image("bomb.png")])),
    ]:
        case(f"error/{name}", "infer", refused(wrong, "INVALID_FIELD", field), request=asked)
    case(
        "error/over the message limit", "infer", {"error": {"code": "OUT_OF_RANGE"}}, request=request(IDENTITY, [huge])
    )


def streams() -> None:
    bert = reference("tiny-bert")
    one, other = texts(bert["sentences"][1]), texts("x", "y")
    requests = [
        {"id": "a", "request": request(BERT, one)},
        {"id": "b", "request": request("no-such-model", texts("x"))},
        {"id": "c", "request": request(BERT, other)},
    ]
    answers = {
        "a": answer(vector(bert["fp32"][1])),
        "b": refused("NOT_FOUND", "MODEL_NOT_FOUND"),
        "c": answer(vector("@any"), vector("@any")),
    }
    case("stream/answers by id", "stream", {"answers": answers, "tolerance": 0.01}, requests=requests)
    many = [{"id": str(number), "request": request(BERT, texts(f"number {number}"))} for number in range(50)]
    case(
        "stream/50 requests", "stream", {"answers": {one["id"]: answer(vector("@any")) for one in many}}, requests=many
    )
    case("cancel/stream", "stream", {"error": {"code": "CANCELLED"}}, requests=many, cancel_after="first")


def generation() -> None:
    first = reference("tiny-llama")["cases"][0]
    text, made = first["item"]["text"], first["output"]["generated"]
    twelve = {"generation": {"maxNewTokens": 12}}
    # What a slow reader has not taken yet is put together to one step: how many there are depends on the machine.
    told = {"at_least": 1, "text": True}
    usage = {"generatedTokens": made["generated_tokens"], "promptTokens": made["prompt_tokens"]}
    whole = answer({"generated": {"text": made["text"], "finishReason": "FINISH_REASON_LENGTH", "usage": usage}})
    asked = request(LLAMA, texts(text), twelve)
    case("generate/text", "generate", {**whole, "partials": told}, request=asked)
    answers = {"answers": {"g": whole}, "partials": told}
    case("stream/partials", "stream", answers, requests=[{"id": "g", "partials": True, "request": asked}])
    unknown = request("no-such-model", texts("x"))
    case("generate/unknown model", "generate", refused("NOT_FOUND", "MODEL_NOT_FOUND"), request=unknown)
    long = request(LLAMA, texts(text), {"generation": {"maxNewTokens": 200}})
    case("cancel/generate", "generate", {"error": {"code": "CANCELLED"}}, request=long, cancel_after="first")


def image(name: str) -> dict:
    return {"image": {"encoded": f"@file:{name}"}}


def item(kind: str, value: object) -> dict:
    """An item of a reference in protobuf's JSON form."""
    match kind:
        case "image":
            return image(value)
        case "audio":
            return {"audio": {"encoded": f"@file:{value}"}}
        case "question":
            source = (
                {"context": value["context"]} if "context" in value else {"document": image(value["document"])["image"]}
            )
            return {"question": {"text": value["text"], **source}}
        case "chat":
            part = {"text": lambda text: {"text": text}, "image": image}
            parts = [
                [part[kind](content) for it in message["parts"] for kind, content in it.items()] for message in value
            ]
            roles = [message["role"] for message in value]
            return {
                "chat": {"messages": [{"role": role, "parts": all_} for role, all_ in zip(roles, parts, strict=True)]}
            }
    return {kind: value}


def camel(value: object) -> object:
    if not isinstance(value, dict):
        return value
    names = {name: name.split("_") for name in value}
    return {first + "".join(map(str.title, rest)): camel(value[name]) for name, (first, *rest) in names.items()}


def output(kind: str, value: object) -> dict:
    """An output of a reference in protobuf's JSON form, which leaves out what is 0 or not there."""

    def told(message: dict) -> dict:
        return {name: field for name, field in camel(message).items() if field not in (None, 0, "")}

    inner = {"ranking": "documents"}.get(kind, kind)
    match kind:
        case "detections":
            return {kind: {inner: ["@any" for _ in value]}}
        case "segments":
            return {kind: {inner: [{"label": segment["label"], "mask": "@any"} for segment in value]}}
        case "depth":
            shape = [str(size) for size in value["shape"]]
            return {kind: {"dataType": "DATA_TYPE_FLOAT32", "shape": shape, "data": "@any"}}
        case "image":
            sizes = {name: value[name] for name in ("width", "height", "channels")}
            return {kind: {**sizes, "data": "@any"}}
        case "audio":
            return {kind: {"rate": value["rate"], "data": "@any"}}
        case "generated" | "transcript":
            return {kind: {"text": value["text"], "usage": "@any"}}
    return {kind: {inner: [told(message) for message in value]}}


def outputs() -> None:
    for source in OUTPUTS:
        name = source.split("-")[-1]
        all_of_it = reference(source)
        first = all_of_it["cases"][0]
        ((kind, content),), ((what, made),) = first["item"].items(), first["output"].items()
        asked = request(model(name, source), [item(kind, content)], camel(first["parameters"]))
        expect = {**answer(output(what, made)), "tolerance": max(first["tolerance"], 0.01)}
        case(f"output/{all_of_it['task']}", "infer", expect, request=asked)


def troubles() -> None:
    """More than may be pending, which is refused with the time to come again; and a service that is started again."""
    again = request(BERT, texts("again"))
    case("retry/refused calls come again", "infer", answer(vector("@any")), request=again, times=200, timeout_ms=60_000)
    # Registrations end with the service; a folder's own name does not.
    case(
        "restart/the client goes on",
        "infer",
        answer(vector("@any")),
        request=request("tiny-bert", texts("after a restart")),
        restart=True,
        timeout_ms=60_000,
    )


def main() -> int:
    model("bert", "tiny-bert", dtype="fp32")
    model("identity", "identity")
    model("types", "types")
    model("add", "add")
    model("llama", "tiny-llama")
    for part in (unary, of_tensors, errors, streams, generation, outputs, troubles):
        part()
    text = json.dumps({"models": models, "cases": cases}, indent=1, ensure_ascii=False) + "\n"
    path = HERE / "cases.json"
    if "--check" not in sys.argv[1:]:
        path.write_text(text)
    elif path.read_text() != text:
        print("cases.json is not what make.py makes of the references", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
