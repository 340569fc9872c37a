/** Encode: what the library gives. */
import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageInitShape,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { Encoder } from "../src/encode";
import { type BrowserFrame, BrowserFrameSchema, FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { EmbeddingSchema, SpanSchema } from "../src/gen/webinfer/v1/inference_pb";

type Body = MessageInitShape<typeof BrowserFrameSchema>["body"];

function frame(body: Body, call = 5n): BrowserFrame {
  return create(BrowserFrameSchema, { call, body: body! });
}

function tensors(size: number): Body {
  const y = { dataType: 1, shape: [BigInt(size), 0n], data: Uint8Array.from({ length: size }, (_, at) => at) };
  const output = { case: "tensors", value: { tensors: { y, "längere Namen": {} } } } as const;
  return { case: "ran", value: { outcomes: [{ outcome: { case: "result", value: { output } } }], tokens: 1n } };
}

const FRAMES: [string, BrowserFrame][] = [
  ["nothing", create(BrowserFrameSchema)],
  ["an empty message", frame({ case: "heartbeat", value: {} }, 0n)],
  ["text", frame({ case: "pageHello", value: { userAgent: "Chrome – 日本 🙂" } })],
  ["large numbers", frame({ case: "loadProgress", value: { loadedBytes: 2n ** 53n - 1n } }, 2n ** 32n)],
  ["numbers around a byte's end", frame({ case: "loadProgress", value: { loadedBytes: 127n } }, 128n)],
  ["flags", frame({ case: "loaded", value: { fallbackAdapter: true, threads: 300, backend: 2 } })],
  [
    "a probe",
    frame({
      case: "probed",
      value: {
        capabilities: { webgpu: { features: ["a", "", "b"], limits: { x: 0n, y: 2n ** 40n } }, webnn: [{}, {}] },
      },
    }),
  ],
  [
    "outcomes",
    frame({
      case: "ran",
      value: {
        outcomes: [
          { outcome: { case: "failed", value: { kind: FailureKind.BAD_INPUT, message: "no" } } },
          { outcome: { case: "result", value: { output: { case: "embedding", value: { values: [0, -1.5] } } } } },
          {},
        ],
        tokens: 3n,
      },
    }),
  ],
  ["tensors", frame(tensors(16))],
  ["large tensors", frame(tensors(1 << 14))],
];

test("frames are what the library makes of them, whatever was before", () => {
  const encoder = new Encoder();
  for (const [name, message] of [...FRAMES, ...FRAMES]) {
    expect(encoder.encode(BrowserFrameSchema, message), name).toEqual(toBinary(BrowserFrameSchema, message));
  }
});

test.each([0, 3, 384, 5000])("a vector of %i numbers need not be a plain array", (length) => {
  const values = Float32Array.from({ length: length + 1 }, (_, at) => at / 7).subarray(1);
  const bytes = new Encoder().encode(EmbeddingSchema, create(EmbeddingSchema, { values: values as never }));
  expect([...bytes]).toEqual([...toBinary(EmbeddingSchema, create(EmbeddingSchema, { values: [...values] }))]);
});

test("what is no size is refused", () => {
  const encoder = new Encoder();
  for (const call of [-1n, 2n ** 53n]) {
    expect(() => encoder.encode(BrowserFrameSchema, create(BrowserFrameSchema, { call }))).toThrow(RangeError);
  }
});

/** Values of each type that a frame may have. */
const VALUES: { [Type in ScalarType]?: readonly unknown[] } = {
  [ScalarType.BOOL]: [false, true],
  [ScalarType.BYTES]: [0, 1, 300].map((length) => new Uint8Array(length).fill(7)),
  [ScalarType.FLOAT]: [0, -0, 1.5, -1e-40, NaN, Infinity, -Infinity],
  [ScalarType.INT64]: [0n, 1n, 2n ** 40n],
  [ScalarType.STRING]: ["", "a", "längere 日本 🙂", "x".repeat(200)],
  [ScalarType.UINT32]: [0, 1, 127, 128, 2 ** 32 - 1],
  [ScalarType.UINT64]: [0n, 1n, 2n ** 53n - 1n],
};

/** Makes messages of all kinds, the same in each run. */
class Maker {
  #state = 1;

  message(desc: DescMessage, depth = 0): Message {
    const init: Record<string, unknown> = {};
    for (const member of desc.members) {
      // What is left out must stay so. Nothing goes on for ever.
      if (this.#pick(4) === 0) continue;
      const field = member.kind === "oneof" ? member.fields[this.#pick(member.fields.length)]! : member;
      if (field.message && depth > 7) continue;
      const value = this.#field(field, depth);
      init[member.localName] = member.kind === "oneof" ? { case: field.localName, value } : value;
    }
    return create(desc, init as never);
  }

  #field(field: DescField, depth: number): unknown {
    const one = () => (field.message ? this.message(field.message, depth + 1) : this.#scalar(field));
    if (field.fieldKind === "list") return Array.from({ length: this.#pick(4) }, one);
    if (field.fieldKind !== "map") return one();
    expect(field.mapKey).toBe(ScalarType.STRING);
    return Object.fromEntries(Array.from({ length: this.#pick(4) }, (_, at) => [`key ${at}`, one()]));
  }

  #scalar({ enum: numbers, scalar, ...field }: DescField): unknown {
    const values = numbers?.values.map(({ number }) => number) ?? VALUES[scalar!];
    if (!values) throw new Error(`${field.name} has a type that is not encoded`);
    return values[this.#pick(values.length)];
  }

  #pick(count: number): number {
    this.#state = (this.#state * 48271) % 2147483647;
    return Math.floor((this.#state / 2147483647) * count);
  }
}

/** A message with all that it may hold. */
function reachable(desc: DescMessage, seen = new Set<DescMessage>()): Set<DescMessage> {
  if (!seen.has(desc)) {
    seen.add(desc);
    for (const { message } of desc.fields) if (message) reachable(message, seen);
  }
  return seen;
}

test.each([...reachable(BrowserFrameSchema)])("$typeName comes out as it went in, whatever is set in it", (desc) => {
  const maker = new Maker();
  const encoder = new Encoder();
  for (let round = 0; round < 60; round++) {
    const message = maker.message(desc);
    const back = fromBinary(desc, encoder.encode(desc, message));
    expect(toBinary(desc, back)).toEqual(toBinary(desc, message));
  }
});

test("what is set to zero is sent where that tells something", () => {
  const span = (more: object) => toBinary(SpanSchema, create(SpanSchema, more));
  const encoder = new Encoder();
  for (const more of [{}, { begin: 0, end: 0 }, { score: -0 }, { score: 0 }]) {
    expect([...encoder.encode(SpanSchema, create(SpanSchema, more))]).toEqual([...span(more)]);
  }
  expect(span({ begin: 0 })).toHaveLength(2);
});
