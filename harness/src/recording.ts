/** Recording: the GPU's commands for one shape, with the buffers that they read and write. */
import * as ort from "onnxruntime-web/webgpu";
import { bytesOf } from "./feeds";

type Feeds = Record<string, ort.Tensor>;
type Outputs = Record<string, ort.Tensor>;
type OnGpu = ort.Tensor.GpuBufferDataTypes;
type Numbers = Float32ArrayConstructor;

export type Run = (feeds: Feeds, fetches: Outputs | readonly string[], options: object) => Promise<Outputs>;

/** An output, as the run before the recording made it. */
interface Output {
  name: string;
  buffer: GPUBuffer;
  type: ort.Tensor.Type;
  dims: readonly number[];
  Numbers: Numbers;
  length: number;
  /** Where it begins in the buffer that is read. */
  offset: number;
}

export class Recording {
  readonly #device: GPUDevice;
  readonly #id: string;
  readonly #run: Run;
  readonly #inputs = new Map<string, GPUBuffer>();
  readonly #feeds: Feeds = {};
  readonly #outputs: Output[] = [];
  readonly #fetches: Outputs = {};
  #staging: GPUBuffer | undefined;

  /** `id` is that of no other recording of the session that has `run`. */
  constructor(device: GPUDevice, id: string, run: Run) {
    [this.#device, this.#id, this.#run] = [device, id, run];
  }

  /** Makes the buffers for inputs and outputs like these. Where that throws it has some of them, to be given back. */
  lay(feeds: Feeds, outputs: Outputs): void {
    const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const buffer = (size: number, usage: number) => this.#device.createBuffer({ size, usage });
    const onGpu = ({ type, dims }: ort.Tensor, gpu: GPUBuffer) =>
      ort.Tensor.fromGpuBuffer(gpu, { dataType: type as OnGpu, dims });
    for (const [name, tensor] of Object.entries(feeds)) {
      const input = buffer(bytesOf(tensor), STORAGE | COPY_SRC | COPY_DST);
      this.#inputs.set(name, input);
      this.#feeds[name] = onGpu(tensor, input);
    }
    let offset = 0;
    for (const [name, tensor] of Object.entries(outputs)) {
      const output = buffer(bytesOf(tensor), STORAGE | COPY_SRC | COPY_DST);
      const { type, dims } = tensor;
      const { constructor, length } = tensor.data as Float32Array;
      this.#outputs.push({ name, buffer: output, type, dims, Numbers: constructor as Numbers, length, offset });
      this.#fetches[name] = onGpu(tensor, output);
      offset += bytesOf(tensor);
    }
    this.#staging = buffer(offset, COPY_DST | MAP_READ);
  }

  /** Records, or has the GPU do again what was recorded. */
  async start(given: Feeds): Promise<void> {
    for (const [name, buffer] of this.#inputs) {
      this.#device.queue.writeBuffer(buffer, 0, given[name]!.data as Float32Array<ArrayBuffer>);
    }
    await this.#run(this.#feeds, this.#fetches, { extra: { gpu_graph_id: this.#id } });
  }

  async replay(given: Feeds): Promise<Outputs> {
    const staging = this.#staging!;
    await this.start(given);
    const encoder = this.#device.createCommandEncoder();
    for (const { buffer, offset } of this.#outputs) encoder.copyBufferToBuffer(buffer, 0, staging, offset, buffer.size);
    this.#device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const bytes = staging.getMappedRange().slice(0);
    staging.unmap();
    const made: Outputs = {};
    for (const { name, type, dims, Numbers, length, offset } of this.#outputs) {
      made[name] = new ort.Tensor(type as "float32", new Numbers(bytes, offset, length), dims);
    }
    return made;
  }

  /** Lets the GPU have the memory of the inputs and outputs again. */
  giveBack(): void {
    for (const buffer of this.#inputs.values()) buffer.destroy();
    for (const { buffer } of this.#outputs) buffer.destroy();
    this.#staging?.destroy();
  }
}
