/**
 * Encode: a message to its bytes, as protobuf puts them.
 *
 * The library copies what a message holds once for each message around it, and a tensor lies seven deep. Here a frame is
 * written from its last byte to its first: so each length is known when its turn comes, and everything is copied once.
 */
import { type DescField, type DescMessage, type Message, type MessageShape, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";

/** A message by the names of its fields. */
type Fields = Readonly<Record<string, unknown>>;

const ZEROS: readonly unknown[] = [0, 0n, "", false, undefined];
const { EXPLICIT } = FeatureSet_FieldPresence;
const utf8 = new TextEncoder();

export class Encoder {
  /** Kept from frame to frame. It grows to the largest, which the runtime's heap held as well and never gives back. */
  #bytes = new Uint8Array(4096);
  /** Bytes that are written, at the end of #bytes. */
  #size = 0;

  /** What is returned holds until the next call. */
  encode<Desc extends DescMessage>(desc: Desc, message: MessageShape<Desc>): Uint8Array<ArrayBuffer> {
    this.#size = 0;
    this.#message(desc, message);
    return this.#bytes.subarray(this.#bytes.length - this.#size);
  }

  #message({ fields }: DescMessage, message: Message): void {
    for (let at = fields.length - 1; at >= 0; at--) {
      const field = fields[at]!;
      const value = valueOf(message as unknown as Fields, field);
      if (value !== undefined) this.#field(field, value);
    }
  }

  #field(field: DescField, value: unknown): void {
    switch (field.fieldKind) {
      case "message":
        return this.#nested(field.number, field.message, value as Message);
      case "map":
        for (const [key, entry] of Object.entries(value as Fields).reverse()) this.#entry(field, key, entry);
        return;
      case "list":
        return this.#list(field, value as ArrayLike<unknown>);
      default:
        // What is zero is not sent, save where that it is set tells something.
        if (field.presence === EXPLICIT || !isZero(value)) this.#scalar(field.number, field.scalar, value);
    }
  }

  #list(field: DescField & { fieldKind: "list" }, values: ArrayLike<unknown>): void {
    if (field.scalar === ScalarType.FLOAT) return this.#floats(field.number, values as ArrayLike<number>);
    const before = this.#size;
    for (let at = values.length - 1; at >= 0; at--) {
      const value = values[at];
      if (field.listKind === "message") this.#nested(field.number, field.message, value as Message);
      else if (field.packed) this.#varint(value as bigint);
      else this.#scalar(field.number, field.scalar, value);
    }
    if (field.packed && values.length > 0) this.#wrap(field.number, before);
  }

  /** Floats lie in memory as they do on the wire, since every browser runs little-endian. */
  #floats(number: number, values: ArrayLike<number>): void {
    if (values.length === 0) return;
    const floats = values instanceof Float32Array ? values : Float32Array.from(values);
    this.#scalar(number, ScalarType.BYTES, new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength));
  }

  #entry(field: DescField & { fieldKind: "map" }, key: string, value: unknown): void {
    const before = this.#size;
    if (field.mapKind === "message") this.#nested(2, field.message, value as Message);
    else this.#scalar(2, field.scalar, value);
    this.#scalar(1, field.mapKey, key);
    this.#wrap(field.number, before);
  }

  #nested(number: number, desc: DescMessage, message: Message): void {
    const before = this.#size;
    this.#message(desc, message);
    this.#wrap(number, before);
  }

  /** An enum has no type of its own. */
  #scalar(number: number, type: ScalarType | undefined, value: unknown): void {
    if (type === ScalarType.FLOAT) {
      this.#copy(new Uint8Array(Float32Array.of(value as number).buffer));
      return this.#varint((number << 3) | WireType.Bit32);
    }
    if (type !== ScalarType.STRING && type !== ScalarType.BYTES) {
      this.#varint(value as number | bigint | boolean);
      return this.#varint((number << 3) | WireType.Varint);
    }
    const before = this.#size;
    this.#copy(type === ScalarType.STRING ? utf8.encode(value as string) : (value as Uint8Array));
    this.#wrap(number, before);
  }

  /** Puts tag and length in front of what was written since. */
  #wrap(number: number, before: number): void {
    this.#varint(this.#size - before);
    this.#varint((number << 3) | WireType.LengthDelimited);
  }

  #copy(data: Uint8Array): void {
    const at = this.#room(data.length);
    this.#bytes.set(data, at);
  }

  #varint(value: number | bigint | boolean): void {
    let rest = Number(value);
    if (!(rest >= 0 && rest <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`${value} does not go into a frame`);
    let length = 1;
    for (let limit = 0x80; rest >= limit; limit *= 0x80) length += 1;
    let at = this.#room(length);
    for (; length > 1; length--) {
      this.#bytes[at++] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[at] = rest;
  }

  /** Where the next bytes, so many, go. */
  #room(count: number): number {
    const size = this.#size + count;
    if (size > this.#bytes.length) {
      const written = this.#bytes.subarray(this.#bytes.length - this.#size);
      // Some more than that, for the tags and lengths that go in front.
      this.#bytes = new Uint8Array(Math.max(2 * this.#bytes.length, size + 4096));
      this.#bytes.set(written, this.#bytes.length - this.#size);
    }
    this.#size = size;
    return this.#bytes.length - size;
  }
}

function valueOf(message: Fields, field: DescField): unknown {
  if (!field.oneof) return message[field.localName];
  const chosen = message[field.oneof.localName] as { case?: string; value?: unknown };
  return chosen.case === field.localName ? chosen.value : undefined;
}

function isZero(value: unknown): boolean {
  // Zero with a sign is another number, and so is what is none.
  return value instanceof Uint8Array ? value.length === 0 : ZEROS.some((zero) => Object.is(value, zero));
}
