/** Session: a graph in the runtime. */
import * as ort from "onnxruntime-web/webgpu";
import { type Device, executionProvider } from "./backend";
import { ERRORS } from "./placement";
import type { OpenTask } from "./tasks/task";

/** What a dtype adds to the name of the graph's file, as in transformers.js. */
const SUFFIX: Readonly<Record<string, string>> = { fp32: "", q8: "_quantized" };

/** A graph of one node, y = Identity(x), in opset 17. */
const ONE_NODE = "CAg6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEBE=";

/**
 * Has the runtime's code read and compiled while the model's files are read: it begins with its first session. Not where
 * it waits for a GPU: there two sessions must not come up at once.
 */
export function startRuntime(device: Device): void {
  if (device !== "wasm") return;
  const graph = Uint8Array.from(atob(ONE_NODE), (letter) => letter.charCodeAt(0));
  const session = ort.InferenceSession.create(graph, { executionProviders: [device], logSeverityLevel: ERRORS });
  // What really fails does so again, with the model.
  void session.then((session) => session.release()).catch(() => {});
}

/** Reads a model's graph and has the runtime make a session of it. */
export async function openSession(opening: OpenTask): Promise<ort.InferenceSession> {
  const { spec, device, files, externalData, logSeverityLevel, enableProfiling } = opening;
  const dtype = spec.dtypes.model ?? "fp32";
  const read = async (file: string) => ({ path: besideGraph(file), data: await files.bytes(file) });
  const [bytes, ...weights] = await Promise.all([
    files.bytes(`onnx/model${SUFFIX[dtype] ?? `_${dtype}`}.onnx`),
    ...externalData.map(read),
  ]);
  return ort.InferenceSession.create(bytes, {
    executionProviders: [executionProvider(device)],
    logSeverityLevel,
    enableProfiling,
    externalData: weights,
  });
}

/** A file's path as the graph, which lies in the folder "onnx", names it. */
export function besideGraph(file: string): string {
  return file.replace(/^onnx\//, "");
}
