/** Files: reads a model's files and tells how far it is. */
import { create } from "@bufbuild/protobuf";
import { type LoadProgress, LoadProgressSchema } from "./gen/webinfer/bridge/v1/bridge_pb";
import { LoadPhase } from "./gen/webinfer/v1/model_pb";

const REPORT_EVERY_MS = 100;

/**
 * Stands in for `fetch` in the library, whose own progress callback would read each file twice: once for its size.
 */
export class Files {
  readonly #base: string;
  readonly #report: (step: LoadProgress) => void;
  /** Small files that the library asks for more than once. */
  readonly #small = new Map<string, Promise<ArrayBuffer>>();
  /** Files that were asked for and are not there, relative to the model's folder. */
  readonly missing: string[] = [];
  #loaded = 0;
  #open = 0;
  #graphRead = false;
  #reported = 0;

  constructor(base: string, report: (step: LoadProgress) => void) {
    this.#base = base;
    this.#report = report;
  }

  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const url = input instanceof Request ? input.url : String(input);
    if (!url.endsWith(".json")) return this.#read(url, init);
    let body = this.#small.get(url);
    if (!body) {
      const response = await this.#read(url, init);
      if (!response.ok) return response;
      body = response.arrayBuffer();
      this.#small.set(url, body);
    }
    return new Response(await body);
  };

  /** The bytes of one file, relative to the model's folder. */
  async bytes(file: string): Promise<Uint8Array> {
    const response = await this.#read(this.#base + file);
    if (!response.ok) throw new Error(`${file} could not be read: HTTP status ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  }

  phase(phase: LoadPhase): void {
    this.#report(create(LoadProgressSchema, { phase, loadedBytes: BigInt(this.#loaded) }));
  }

  async #read(url: string, init?: RequestInit): Promise<Response> {
    this.#open += 1;
    const response = await fetch(url, init);
    const file = url.startsWith(this.#base) ? url.slice(this.#base.length) : url;
    if (!response.ok || !response.body) {
      this.#open -= 1;
      this.missing.push(file);
      return response;
    }
    const length = response.headers.get("content-length");
    let read = 0;
    const counter = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        read += chunk.byteLength;
        this.#count(file, chunk.byteLength);
        controller.enqueue(chunk);
      },
      // Not every browser fails where a body ends early.
      flush: () => {
        if (length !== null && read !== Number(length))
          throw new Error(`${file}: ${read} bytes were read of ${length}`);
        this.#finished(file);
      },
    });
    return new Response(
      response.body.pipeThrough(counter as ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array>),
      response,
    );
  }

  #count(file: string, bytes: number): void {
    this.#loaded += bytes;
    const now = performance.now();
    if (now - this.#reported < REPORT_EVERY_MS) return;
    this.#reported = now;
    this.#report(create(LoadProgressSchema, { phase: LoadPhase.FILES, file, loadedBytes: BigInt(this.#loaded) }));
  }

  /** When the last open file ends and the graph was among them, the runtime begins to compile it. */
  #finished(file: string): void {
    this.#open -= 1;
    this.#graphRead ||= file.endsWith(".onnx");
    if (this.#graphRead && this.#open === 0) this.phase(LoadPhase.COMPILE);
  }
}
