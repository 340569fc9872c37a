/** Bare page: starts workers that run batches without the bridge. Its fragment names the bundle and says how many. */
const said = new URLSearchParams(location.hash.slice(1));
for (let number = 0; number < Number(said.get("workers")); number++) {
  const worker = new Worker(`/bare-worker-${said.get("bundle")}.js`, { type: "module" });
  worker.onerror = (event) => {
    document.title = `worker: ${event.message}`;
  };
}
