/**
 * Pixels: what the library does to pictures, with less copying and to the same bits.
 *
 * It draws a picture, reads it, draws what it read and reads that smaller, with an alpha channel put on and taken off again. A
 * JPEG has no alpha, so that it can be drawn in the size that is wanted, once.
 */
import { RawImage, Tensor } from "@huggingface/transformers";
import { badInput, describe } from "../failure";

/** Markers of a JPEG (ITU-T T.81, table B.1). */
const MARKER = { SOI: 0xd8, SOS: 0xda, APP1: 0xe1, APP2: 0xe2 };
/** Those of a frame are C0 to CF, but for tables, a reserved one and arithmetic conditioning. */
const NO_FRAME = [0xc4, 0xc8, 0xcc];

/** Pixels of a side that all browsers draw. */
const DRAWN = 4096;

/** A picture that is left as the browser decoded it until its pixels are asked for. */
class Bitmap extends RawImage {
  /** There as long as the pixels are not. */
  #bitmap: ImageBitmap | undefined;
  #data: RawImage["data"] = new Uint8ClampedArray();

  constructor(bitmap: ImageBitmap) {
    super(new Uint8ClampedArray(), bitmap.width, bitmap.height, 4);
    this.#bitmap = bitmap;
    Object.defineProperty(this, "data", {
      enumerable: true,
      get: () => this.#read(),
      set: (data: RawImage["data"]) => {
        this.#data = data;
        this.close();
      },
    });
  }

  override rgb(): this {
    if (!this.#bitmap) return super.rgb() as this;
    this.channels = 3;
    return this;
  }

  override async resize(
    width: number,
    height: number,
    options?: { resample?: 0 | 1 | 2 | 3 | 4 | 5 },
  ): Promise<RawImage> {
    const whole =
      Number.isInteger(width) && Number.isInteger(height) && (width !== this.width || height !== this.height);
    if (!this.#bitmap || !whole || width < 1 || height < 1) return super.resize(width, height, options);
    return drawn(this.#bitmap, width, height, this.channels);
  }

  /** Gives the browser's memory back. Pixels that were not read are gone. */
  close(): void {
    this.#bitmap?.close();
    this.#bitmap = undefined;
  }

  #read(): RawImage["data"] {
    if (this.#bitmap) {
      this.#data = drawn(this.#bitmap, this.width, this.height, this.channels).data;
      this.close();
    }
    return this.#data;
  }
}

/** Draws a picture in a size. One that is larger than each browser draws is its item's failure. */
function drawn(bitmap: ImageBitmap, width: number, height: number, channels: number): RawImage {
  try {
    const context = new OffscreenCanvas(width, height).getContext("2d");
    if (!context) throw new Error("the browser gave no canvas");
    context.drawImage(bitmap, 0, 0, width, height);
    return new RawImage(context.getImageData(0, 0, width, height).data, width, height, 4).convert(channels);
  } catch (error) {
    if (Math.max(width, height) <= DRAWN) throw error;
    throw badInput(`the image could not be drawn as ${width} x ${height} pixels: ${describe(error)}`);
  }
}

/** Decodes a picture, on a thread of the browser's own. */
export async function imageFrom(encoded: Uint8Array<ArrayBuffer>): Promise<RawImage> {
  const blob = new Blob([encoded]);
  return isPlainJpeg(encoded) ? new Bitmap(await createImageBitmap(blob)) : RawImage.fromBlob(blob);
}

/** Gives back what an input has of the browser's memory, if it is a picture. It is not used again. */
export function release(image: unknown): void {
  if (image instanceof Bitmap) image.close();
}

/**
 * Whether a picture is a JPEG that the browser has nothing to do to but to decode: grey or of three colours, and in no colour
 * space and no position of its own, which might come out otherwise where it is drawn in another size.
 */
export function isPlainJpeg(encoded: Uint8Array): boolean {
  if (encoded[0] !== 0xff || encoded[1] !== MARKER.SOI) return false;
  let hasFrame = false;
  let at = 2;
  while (encoded[at] === 0xff) {
    const marker = encoded[at + 1];
    if (marker === 0xff) {
      // Any number of these may fill what is before a marker.
      at += 1;
      continue;
    }
    if (marker === MARKER.SOS) return hasFrame;
    const [high, low] = [encoded[at + 2], encoded[at + 3]];
    if (marker === undefined || high === undefined || low === undefined) return false;
    // Of these none has a length, and none belongs here.
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9)) return false;
    const end = at + 2 + high * 256 + low;
    const segment = encoded.subarray(at + 4, end);
    if (end > encoded.length || end < at + 4) return false;
    if (marker === MARKER.APP1 && begins(segment, "Exif")) return false;
    if (marker === MARKER.APP2 && begins(segment, "ICC_PROFILE")) return false;
    if (marker >= 0xc0 && marker <= 0xcf && !NO_FRAME.includes(marker)) {
      // Behind the precision, the height and the width.
      if (segment[5] !== 1 && segment[5] !== 3) return false;
      hasFrame = true;
    }
    at = end;
  }
  return false;
}

function begins(segment: Uint8Array, word: string): boolean {
  return [...word].every((letter, at) => segment[at] === letter.charCodeAt(0));
}

/** Has the library's tensors of this realm take the short way from pixels to planes. */
export function hastenPermute(): void {
  const permute = Tensor.prototype.permute;
  Tensor.prototype.permute = function (this: Tensor, ...axes: number[]) {
    return channelsFirst(this, axes) ?? permute.apply(this, axes);
  };
}

/** Rows of pixels as planes of channels, if that is what is asked for. */
export function channelsFirst(
  { data, dims }: Pick<Tensor, "data" | "dims">,
  axes: readonly number[],
): Tensor | undefined {
  if (String(axes) !== "2,0,1" || dims.length !== 3 || !(data instanceof Float32Array)) return undefined;
  const [rows, columns, channels] = dims as [number, number, number];
  const planes = new Float32Array(data.length);
  let to = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let from = channel; from < data.length; from += channels) planes[to++] = data[from]!;
  }
  return new Tensor("float32", planes, [channels, rows, columns]);
}
