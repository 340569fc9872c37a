/** Pixels: planes of channels, against the library's own, and pictures that are drawn in place of it. */
import { numbers } from "./runtime";
import { permute, RawImage, Tensor } from "@huggingface/transformers";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import type { Pipe } from "../src/tasks/pipeline";
import { processed } from "../src/tasks/pictures";
import { channelsFirst, imageFrom, isPlainJpeg } from "../src/tasks/pixels";

test.each([[[2, 3, 3]], [[5, 1, 4]], [[1, 1, 1]], [[7, 4, 2]]])(
  "pixels of %s become planes as in the library",
  (dims) => {
    const count = dims.reduce((all, dim) => all * dim);
    const pixels = new Tensor("float32", Float32Array.from({ length: count }, numbers()), dims);
    const wanted = permute(pixels, [2, 0, 1]);
    const made = channelsFirst(pixels, [2, 0, 1]);
    expect(made?.dims).toEqual(wanted.dims);
    expect(made?.data).toEqual(wanted.data);
  },
);

test("what is something else is left to the library", () => {
  const floats = (dims: number[]) => new Tensor("float32", new Float32Array(6), dims);
  expect(channelsFirst(floats([1, 2, 3]), [1, 0, 2])).toBeUndefined();
  expect(channelsFirst(floats([6]), [2, 0, 1])).toBeUndefined();
  expect(channelsFirst(new Tensor("uint8", new Uint8Array(6), [1, 2, 3]), [2, 0, 1])).toBeUndefined();
});

const bytes = (text: string) => [...text].map((letter) => letter.charCodeAt(0));
const segment = (marker: number, ...data: number[]) => [0xff, marker, 0, data.length + 2, ...data];
const frame = (components: number, marker = 0xc0) => segment(marker, 8, 0, 9, 0, 9, components, 1, 0x11, 0);
const JFIF = segment(0xe0, ...bytes("JFIF\0"));
const SCAN = [...segment(0xda, 1, 1, 0, 0, 63, 0), 1, 2, 3, 0xff, 0xd9];

function jpeg(...parts: number[][]): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(0xff, 0xd8, ...parts.flat());
}

test.each<[string, number[][], boolean]>([
  ["of three colours", [JFIF, frame(3), SCAN], true],
  ["that is grey", [JFIF, frame(1), SCAN], true],
  ["in steps", [frame(3, 0xc2), SCAN], true],
  ["with tables", [segment(0xdb, 0, 1), frame(3), segment(0xc4, 0, 1), SCAN], true],
  ["with a description", [segment(0xe1, ...bytes("http://ns.adobe.com/xap/1.0/\0")), frame(3), SCAN], true],
  ["with markers that are filled up", [[0xff, 0xff], frame(3), [0xff], SCAN], true],
  ["of four colours", [JFIF, frame(4), SCAN], false],
  ["in a colour space of its own", [JFIF, segment(0xe2, ...bytes("ICC_PROFILE\0"), 1, 1), frame(3), SCAN], false],
  ["in a position of its own", [segment(0xe1, ...bytes("Exif\0\0"), 1), frame(3), SCAN], false],
  ["without a frame", [JFIF, segment(0xc4, 0, 1, 0, 0, 0, 3), SCAN], false],
  ["without a scan", [JFIF, frame(3), [0xff, 0xd9]], false],
  ["that ends in a segment", [JFIF, frame(3).slice(0, 9)], false],
  ["that ends in a marker", [JFIF, frame(3), [0xff]], false],
  ["that ends in a length", [JFIF, frame(3), [0xff, 0xe0, 0]], false],
  ["with a segment that has no length", [[0xff, 0xe0, 0, 1], frame(3), SCAN], false],
  ["with something between its segments", [JFIF, [0], frame(3), SCAN], false],
  ["with nothing", [], false],
])("a JPEG %s", (_, parts, isPlain) => {
  expect(isPlainJpeg(jpeg(...parts))).toBe(isPlain);
});

test("what is no JPEG is none", () => {
  expect(isPlainJpeg(Uint8Array.of(0x89, 0x50, 0x4e, 0x47))).toBe(false);
  expect(isPlainJpeg(new Uint8Array())).toBe(false);
});

/** A picture of 4 x 2 pixels, and a browser that draws no more than 100 at once. */
const bitmap = { width: 4, height: 2, close: vi.fn() };
const drawImage = vi.fn();
class Canvas {
  getContext() {
    const getImageData = (_x: number, _y: number, width: number, height: number) => {
      if (width * height > 100) throw new RangeError("out of memory");
      return { data: new Uint8ClampedArray(4 * width * height).fill(9) };
    };
    return { drawImage, getImageData };
  }
}

beforeEach(() => {
  vi.stubGlobal("createImageBitmap", async () => bitmap);
  vi.stubGlobal("OffscreenCanvas", Canvas);
});
afterEach(() => {
  vi.resetAllMocks();
  vi.unstubAllGlobals();
});

const plain = () => imageFrom(jpeg(JFIF, frame(3), SCAN));

test("a picture that the browser might draw otherwise is left to the library", async () => {
  const left = new RawImage(new Uint8ClampedArray(4), 1, 1, 4);
  const fromBlob = vi.spyOn(RawImage, "fromBlob").mockResolvedValue(left);
  expect(await imageFrom(jpeg(JFIF, frame(4), SCAN))).toBe(left);
  fromBlob.mockRestore();
});

test("a picture is drawn in each size that is asked for, and stays for others", async () => {
  const image = (await plain()).rgb();
  expect(await image.resize(2, 1)).toMatchObject({ width: 2, height: 1, channels: 3 });
  expect((await image.resize(3, 3)).data).toHaveLength(27);
  expect(drawImage.mock.calls).toEqual([
    [bitmap, 0, 0, 2, 1],
    [bitmap, 0, 0, 3, 3],
  ]);
  expect(bitmap.close).not.toHaveBeenCalled();
});

test("the browser's picture is given back once its pixels are read, which stay", async () => {
  const image = (await plain()).rgb();
  expect(image.data).toHaveLength(24);
  expect(bitmap.close).toHaveBeenCalledOnce();
  expect(image.data).toHaveLength(24);
  expect(drawImage).toHaveBeenCalledOnce();
  expect(bitmap.close).toHaveBeenCalledOnce();
});

test("the browser's picture is given back once others take the place of its pixels", async () => {
  const image = await plain();
  image.data = new Uint8ClampedArray(3);
  expect(bitmap.close).toHaveBeenCalledOnce();
  expect(image.data).toEqual(new Uint8ClampedArray(3));
});

test("a size that not each browser draws is the picture's own failure, and another one is not", async () => {
  const image = await plain();
  const message = "the image could not be drawn as 5000 x 10 pixels: RangeError: out of memory";
  const failure = { name: "Failure", kind: FailureKind.BAD_INPUT, fatal: false, message };
  await expect(image.resize(5000, 10)).rejects.toMatchObject(failure);
  await expect(image.resize(11, 10)).rejects.toThrow(RangeError);
});

test("the browser's picture is given back once it is processed, whatever came of it", async () => {
  const made = new Tensor("float32", new Float32Array(3), [1, 3, 1, 1]);
  const processor = vi.fn(async ([image]: RawImage[]) => {
    await image!.resize(1, 1);
    expect(bitmap.close).not.toHaveBeenCalled();
    return { pixel_values: made };
  });
  const pipe = { processor } as unknown as Pipe;
  expect(await processed(pipe, await plain())).toBe(made);
  expect(bitmap.close).toHaveBeenCalledOnce();
  processor.mockRejectedValueOnce(new Error("no such size"));
  await expect(processed(pipe, await plain())).rejects.toThrow("no such size");
  expect(bitmap.close).toHaveBeenCalledTimes(2);
});
