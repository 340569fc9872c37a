/** Room: what recordings take of the GPU's memory, told before they are made and after. */
import type * as ort from "onnxruntime-web/webgpu";
import { alone, Failure } from "./failure";
import { FailureKind } from "./gen/webinfer/bridge/v1/bridge_pb";

type Feeds = Record<string, ort.Tensor>;

/** Counts the bytes of the buffers that there are on a device. The runtime makes its own in the same way. */
export function countBytes(device: GPUDevice): () => number {
  let bytes = 0;
  const make = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = make(descriptor);
    let held = descriptor.size;
    bytes += held;
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      bytes -= held;
      held = 0;
      destroy();
    };
    return buffer;
  };
  return () => bytes;
}

/** What the GPU was asked and did not do: nothing that it computes can be trusted from then on. */
export function refused(error: GPUError): Failure {
  const kind = error instanceof GPUOutOfMemoryError ? FailureKind.OUT_OF_MEMORY : FailureKind.RUNTIME;
  return new Failure(kind, `the GPU refused a command: ${error.message}`, true);
}

/** Does work that the worker can do without: where the GPU lacks the memory for it, nothing but the work has failed. */
export async function withinMemory(device: GPUDevice, work: () => Promise<void>): Promise<void> {
  device.pushErrorScope("out-of-memory");
  // A buffer without memory is refused by each command that is given it.
  device.pushErrorScope("validation");
  // What is fatal leaves the scopes as they are: the worker ends.
  const failure = await work().then(() => undefined, alone);
  const invalid = await device.popErrorScope();
  const lacking = await device.popErrorScope();
  if (lacking) throw new Failure(FailureKind.OUT_OF_MEMORY, `the GPU has no memory for them: ${lacking.message}`);
  if (invalid) throw refused(invalid);
  if (failure) throw failure;
}

/** What recordings of a session need, by what those took that were made. */
export class Need {
  /** Bytes of a session for one shape, at most: its weights. */
  #weights = 0;
  /** Bytes for each number of the first input, at most. */
  #rate = 0;
  /** Numbers of a row of the first input, at most. */
  #longest = 0;

  measured(feeds: Feeds, weights: number, bytes: number): void {
    const { size, length } = sizeOf(feeds);
    this.#weights = Math.max(this.#weights, weights);
    this.#rate = Math.max(this.#rate, bytes / size);
    this.#longest = Math.max(this.#longest, length);
  }

  /** Bytes of a recording; 0 where none was measured. Attention needs more for each number, the longer the row is. */
  of(feeds: Feeds): number {
    if (this.#longest === 0) return 0;
    const { size, length } = sizeOf(feeds);
    return this.#weights + this.#rate * size * Math.max(1, length / this.#longest);
  }
}

/** Numbers of the first input, and of a row of it. */
function sizeOf(feeds: Feeds): { size: number; length: number } {
  const { size, dims } = Object.values(feeds)[0]!;
  return { size, length: size / (dims[0] || 1) };
}
