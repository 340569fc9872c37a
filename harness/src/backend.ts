/** Backend: settles what the runtime may reach and which backend computes, before anything is loaded. */
import { env } from "@huggingface/transformers";
import * as ort from "onnxruntime-web/webgpu";
import { FailureKind } from "./gen/webinfer/bridge/v1/bridge_pb";
import { Backend } from "./gen/webinfer/v1/execution_pb";
import { adapterName, findAdapter, isFallback, isSoftwareName } from "./adapter";
import { describe, Failure } from "./failure";
import { hastenPermute } from "./tasks/pixels";
import { ml, probeContext } from "./webnn";

/** Set at build time: each bundle has its own build of the runtime. */
declare const ORT_FILES: string;

/** Backends by what the library and the runtime call them. */
const DEVICES = {
  [Backend.WASM]: "wasm",
  [Backend.WEBGPU]: "webgpu",
  [Backend.WEBNN_CPU]: "webnn-cpu",
  [Backend.WEBNN_GPU]: "webnn-gpu",
  [Backend.WEBNN_NPU]: "webnn-npu",
} as const;

export type Device = (typeof DEVICES)[keyof typeof DEVICES];

/** What really runs, told after the load. */
export interface Facts {
  backend: Backend;
  adapter: string;
  fallbackAdapter: boolean;
  threads: number;
}

/** Settles the runtime. Everything that it reads comes from the page's own origin. */
export function configure(threads: number, fetch: typeof globalThis.fetch): void {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.useBrowserCache = false;
  // It would re-wrap the runtime's script as a blob: URL, which the content security policy refuses.
  env.useWasmCache = false;
  env.fetch = fetch;
  const beside = (file: string) => new URL(file, location.href).href;
  ort.env.wasm.wasmPaths = { mjs: beside(`ort/${ORT_FILES}.mjs`), wasm: beside(`ort/${ORT_FILES}.wasm`) };
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.proxy = false;
  hastenPermute();
}

/** Makes sure that the backend is to be had, before any file is read. */
export async function requireBackend(backend: Backend | undefined): Promise<Device> {
  const device = DEVICES[backend as keyof typeof DEVICES];
  if (!device) throw new Error(`there is no backend ${backend}`);
  if (device === "webgpu") await requireWebGpu();
  if (device.startsWith("webnn-")) await requireWebNn(webnnType(device));
  return device;
}

/** The execution provider of the runtime that computes on a device. */
export function executionProvider(device: Device): ort.InferenceSession.ExecutionProviderConfig {
  return device.startsWith("webnn-") ? { name: "webnn", deviceType: webnnType(device) } : device;
}

function webnnType(device: Device): "cpu" | "gpu" | "npu" {
  return device.slice("webnn-".length) as "cpu" | "gpu" | "npu";
}

async function requireWebNn(deviceType: string): Promise<void> {
  const missing = (reason: string) => new Failure(FailureKind.NO_BACKEND, `WebNN is not available: ${reason}`, true);
  if (!ml()) throw missing("the browser does not offer it to workers");
  try {
    await probeContext(deviceType);
  } catch (error) {
    throw missing(`the browser gives no context for ${deviceType}: ${describe(error)}`);
  }
}

async function requireWebGpu(): Promise<void> {
  const missing = (reason: string) => new Failure(FailureKind.NO_BACKEND, `WebGPU is not available: ${reason}`, true);
  if (!("webgpu" in ort.env) || !navigator.gpu) throw missing("the browser does not offer it to workers");
  if (!(await findAdapter())) throw missing("the browser gave no adapter");
}

/** Whether WebGPU is a GPU, by the adapter's own words. */
export async function hasGpu(): Promise<boolean> {
  const adapter = await findAdapter();
  return adapter !== null && !isFallback(adapter.info, adapter) && !isSoftwareName(adapterName(adapter.info));
}

/** Why a profile has no times of the GPU's kernels; empty where there is none to be expected. */
export async function noKernelsReason(backend: Backend | undefined): Promise<string> {
  if (backend !== Backend.WEBGPU) return "";
  const { features } = await ort.env.webgpu.device;
  const has = features.has("timestamp-query");
  return has ? "the runtime told none" : "the browser's adapter has no timestamps (timestamp-query)";
}

/** Tells what runs from the runtime's own device, not from what was asked, and watches for its loss. */
export async function facts(backend: Backend, onLost: (failure: Failure) => void): Promise<Facts> {
  if (backend !== Backend.WEBGPU) {
    // The runtime lowers the number itself where the page is not isolated. What WebNN does not take runs on them, too.
    const threads = ort.env.wasm.numThreads ?? 1;
    return { backend, adapter: "", fallbackAdapter: false, threads };
  }
  const gpu = await ort.env.webgpu.device;
  void gpu.lost.then(({ reason, message }) =>
    onLost(new Failure(FailureKind.DEVICE_LOST, `the GPU device was lost: ${reason} ${message}`.trim(), true)),
  );
  // Older browsers do not tell the adapter of a device.
  const adapter = gpu.adapterInfo ? undefined : await findAdapter();
  const info = gpu.adapterInfo ?? adapter?.info;
  return {
    backend,
    adapter: adapterName(info),
    fallbackAdapter: isFallback(info, adapter ?? undefined),
    threads: 0,
  };
}
