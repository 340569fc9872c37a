/** Session: a graph in the runtime. */
import * as ort from "onnxruntime-web/webgpu";
import { executionProvider } from "./backend";
import type { OpenTask } from "./tasks/task";

/** What a dtype adds to the name of the graph's file, as in transformers.js. */
const SUFFIX: Readonly<Record<string, string>> = { fp32: "", q8: "_quantized" };

/** Reads a model's graph and has the runtime make a session of it. */
export async function openSession(opening: OpenTask): Promise<ort.InferenceSession> {
  const { spec, device, files, externalData, logSeverityLevel, enableProfiling } = opening;
  const dtype = spec.dtypes.model ?? "fp32";
  const bytes = await files.bytes(`onnx/model${SUFFIX[dtype] ?? `_${dtype}`}.onnx`);
  return ort.InferenceSession.create(bytes, {
    executionProviders: [executionProvider(device)],
    logSeverityLevel,
    enableProfiling,
    externalData: await Promise.all(
      externalData.map(async (file) => ({ path: besideGraph(file), data: await files.bytes(file) })),
    ),
  });
}

/** A file's path as the graph, which lies in the folder "onnx", names it. */
export function besideGraph(file: string): string {
  return file.replace(/^onnx\//, "");
}
