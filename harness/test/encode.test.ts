/** Encode: byte for byte what the library gives. */
import { create, type DescMessage, type MessageInitShape, ScalarType, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { Encoder } from "../src/encode";
import { type BrowserFrame, BrowserFrameSchema, FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { EmbeddingSchema } from "../src/gen/webinfer/v1/inference_pb";

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

test("no frame has a field of a type that is not encoded", () => {
  const { BOOL, BYTES, INT64, STRING, UINT32, UINT64 } = ScalarType;
  const seen = new Set<DescMessage>();
  const visit = (desc: DescMessage): void => {
    if (seen.has(desc)) return;
    seen.add(desc);
    for (const field of desc.fields) {
      if (field.message) visit(field.message);
      else if (field.fieldKind === "list" && field.scalar === ScalarType.FLOAT) continue;
      else if (field.scalar)
        expect([BOOL, BYTES, INT64, STRING, UINT32, UINT64], String(field)).toContain(field.scalar);
      if (field.fieldKind === "map") expect(field.mapKey, String(field)).toBe(STRING);
    }
  };
  visit(BrowserFrameSchema);
  expect(seen.size).toBeGreaterThan(10);
});
