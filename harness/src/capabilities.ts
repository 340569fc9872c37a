/** Capabilities: what the browser offers to a worker, in its own words. */
import { create } from "@bufbuild/protobuf";
import {
  type BrowserCapabilities,
  BrowserCapabilitiesSchema,
  type WebGpuCapabilities,
  WebGpuCapabilitiesSchema,
  type WebNnContext,
  WebNnContextSchema,
} from "./gen/webinfer/v1/capability_pb";
import { Hardware } from "./gen/webinfer/v1/execution_pb";
import { adapterName, findAdapter, isFallback, isSoftwareName } from "./adapter";
import { describe } from "./failure";
import { ml, probeContext } from "./webnn";

// Smallest modules that use a feature; a browser without it finds them invalid. The first bytes are those of all modules,
// and for SIMD a function without arguments that returns a vector.
const MODULE = [0, 97, 115, 109, 1, 0, 0, 0];
const VECTOR = [...MODULE, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
const SIMD_MODULE = [...VECTOR, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];
const RELAXED_SIMD_MODULE = [...VECTOR, 10, 15, 1, 13, 0, 65, 0, 253, 15, 65, 0, 253, 15, 253, 128, 2, 11];
const MEMORY64_MODULE = [...MODULE, 5, 3, 1, 4, 1];
const THREADS_MODULE = [...MODULE, 5, 4, 1, 3, 1, 1];

export async function capabilities(): Promise<BrowserCapabilities> {
  return create(BrowserCapabilitiesSchema, {
    userAgent: navigator.userAgent,
    hardwareConcurrency: navigator.hardwareConcurrency ?? 0,
    crossOriginIsolated: globalThis.crossOriginIsolated ?? false,
    deviceMemoryMib: 1024 * ((navigator as { deviceMemory?: number }).deviceMemory ?? 0),
    wasmThreads: hasSharedMemory() && isValid(THREADS_MODULE),
    wasmSimd: isValid(SIMD_MODULE),
    wasmRelaxedSimd: isValid(RELAXED_SIMD_MODULE),
    wasmMemory64: isValid(MEMORY64_MODULE),
    wasmJspi: "Suspending" in WebAssembly && "promising" in WebAssembly,
    webgpu: await webgpu(),
    webnn: await webnn(),
  });
}

function isValid(module: number[]): boolean {
  return WebAssembly.validate(new Uint8Array(module));
}

/** The type alone is not enough: without isolation it exists in some browsers and cannot be sent to a thread. */
function hasSharedMemory(): boolean {
  return globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer !== "undefined";
}

async function webgpu(): Promise<WebGpuCapabilities> {
  const unavailable = (unavailableReason: string) =>
    create(WebGpuCapabilitiesSchema, { available: false, unavailableReason });
  if (!navigator.gpu) return unavailable("the browser does not offer navigator.gpu to workers");
  let adapter: GPUAdapter | null;
  try {
    adapter = await findAdapter();
  } catch (error) {
    return unavailable(describe(error));
  }
  if (!adapter) return unavailable("the browser gave no adapter");
  const name = adapterName(adapter.info);
  const software = isFallback(adapter.info, adapter) || isSoftwareName(name);
  return create(WebGpuCapabilitiesSchema, {
    available: true,
    adapter: name,
    hardware: software ? Hardware.SOFTWARE_ADAPTER : Hardware.GPU,
    features: [...adapter.features].sort(),
    limits: limits(adapter.limits),
  });
}

/** Limits are getters of the prototype, so they do not come with a spread. */
function limits(limits: GPUSupportedLimits): Record<string, bigint> {
  const result: Record<string, bigint> = {};
  for (const name in limits) {
    const value: unknown = limits[name as keyof GPUSupportedLimits];
    if (typeof value === "number" && Number.isSafeInteger(value)) result[name] = BigInt(value);
  }
  return result;
}

async function webnn(): Promise<WebNnContext[]> {
  if (!ml()) return [];
  const contexts: WebNnContext[] = [];
  for (const deviceType of ["cpu", "gpu", "npu"]) {
    try {
      const limits = await probeContext(deviceType);
      contexts.push(create(WebNnContextSchema, { deviceType, available: true, ...limits }));
    } catch (error) {
      contexts.push(create(WebNnContextSchema, { deviceType, unavailableReason: describe(error) }));
    }
  }
  return contexts;
}
