/** Adapter: finds the WebGPU adapter and says what it says of itself. */

/** Software that stands in for a GPU, by the names it gives itself. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|lavapipe|\bwarp\b|basic render/i;

/** Null where the browser has none. */
export async function findAdapter(): Promise<GPUAdapter | null> {
  // The first request of a browser can come back empty when it asks for the fast one.
  return (
    (await navigator.gpu.requestAdapter({ powerPreference: "high-performance" })) ??
    (await navigator.gpu.requestAdapter())
  );
}

/** "vendor architecture device description", as far as the browser tells them. */
export function adapterName(info: GPUAdapterInfo): string {
  return [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" ");
}

/** Whether the adapter calls itself a fall-back. Browsers differ in where they say it. */
export function isFallback(info: GPUAdapterInfo, adapter?: GPUAdapter): boolean {
  const old = adapter as { isFallbackAdapter?: boolean } | undefined;
  return info.isFallbackAdapter ?? old?.isFallbackAdapter ?? false;
}

export function isSoftwareName(name: string): boolean {
  return SOFTWARE.test(name);
}
