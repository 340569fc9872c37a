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

// Smallest modules that use a feature; a browser without it finds them invalid.
const SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];
const THREADS_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0,
  26, 11,
];

export async function capabilities(): Promise<BrowserCapabilities> {
  return create(BrowserCapabilitiesSchema, {
    userAgent: navigator.userAgent,
    hardwareConcurrency: navigator.hardwareConcurrency ?? 0,
    crossOriginIsolated: globalThis.crossOriginIsolated ?? false,
    wasmThreads: hasSharedMemory() && WebAssembly.validate(new Uint8Array(THREADS_MODULE)),
    wasmSimd: WebAssembly.validate(new Uint8Array(SIMD_MODULE)),
    webgpu: await webgpu(),
    webnn: await webnn(),
  });
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

interface Ml {
  createContext(options: { deviceType: string }): Promise<{ destroy?(): void }>;
}

async function webnn(): Promise<WebNnContext[]> {
  const ml = (navigator as { ml?: Ml }).ml;
  if (!ml) return [];
  const contexts: WebNnContext[] = [];
  for (const deviceType of ["cpu", "gpu", "npu"]) {
    try {
      const context = await ml.createContext({ deviceType });
      context.destroy?.();
      contexts.push(create(WebNnContextSchema, { deviceType, available: true }));
    } catch (error) {
      contexts.push(create(WebNnContextSchema, { deviceType, unavailableReason: describe(error) }));
    }
  }
  return contexts;
}
