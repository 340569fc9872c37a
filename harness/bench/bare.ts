/** Bare page: starts one worker that runs batches without the bridge. The fragment names the build of the runtime. */
const worker = new Worker(`/bare-worker-${location.hash.slice(1)}.js`, { type: "module" });
worker.onerror = (event) => {
  document.title = `worker: ${event.message}`;
};
