/** Bare page: starts one worker that runs batches without the bridge. `#webgpu` picks the other build of the runtime. */
const backend = location.hash === "#webgpu" ? "webgpu" : "wasm";
const worker = new Worker(`/bare-worker-${backend}.js`, { type: "module" });
worker.onerror = (event) => {
  document.title = `worker: ${event.message}`;
};
