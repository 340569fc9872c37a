/** Page: starts and ends workers as the service asks, and tells what the browser can do. */
import { create } from "@bufbuild/protobuf";
import {
  type EndWorker,
  PageHelloSchema,
  ProbedSchema,
  type ServiceFrame,
  type StartWorker,
  WorkerEndedSchema,
} from "./gen/webinfer/bridge/v1/bridge_pb";
import { type BrowserCapabilities, BrowserCapabilitiesSchema } from "./gen/webinfer/v1/capability_pb";
import { Backend } from "./gen/webinfer/v1/execution_pb";
import { describe } from "./failure";
import { Heap } from "./heap";
import { Link } from "./link";
import { Log } from "./log";

/** Somewhat less than the service waits. */
const PROBE_MS = 25_000;

/** By worker id. A worker stays here until the service ends it, or it breaks down. */
const workers = new Map<string, Worker>();

const heap = new Heap();

// The fragment holds path and query of the page's own link; a fragment is never sent in a request.
const link = new Link(location.hash.slice(1), {
  onOpen() {
    link.send(0n, { case: "pageHello", value: create(PageHelloSchema, { userAgent: navigator.userAgent }) });
    link.beat(heap);
    heap.watch();
    log.flush();
  },
  onFrame,
  onClose() {
    for (const id of [...workers.keys()]) endWorker(id);
    document.title = "webinfer: disconnected";
  },
});

const log = new Log((body) => link.send(0n, body));
log.watchConsole();
addEventListener("error", (event) => log.add(event.error ? describe(event.error) : event.message));
addEventListener("unhandledrejection", (event) => log.add(describe(event.reason)));

function onFrame(frame: ServiceFrame): void {
  switch (frame.body.case) {
    case "startWorker":
      return startWorker(frame.body.value);
    case "endWorker":
      return endWorker((frame.body.value satisfies EndWorker).workerId);
    case "probe":
      return probe(frame.call);
  }
}

function startWorker({ workerId, link: path, backend }: StartWorker): void {
  const script = scriptOf(backend);
  const worker = new Worker(script, { type: "module", name: workerId });
  workers.set(workerId, worker);
  const broke = (reason: string) => {
    endWorker(workerId);
    link.send(0n, { case: "workerEnded", value: create(WorkerEndedSchema, { workerId, reason }) });
  };
  // A script that could not be read gives an event without a message.
  worker.onerror = (event) =>
    broke(event.message ? `${event.message} (${event.filename}:${event.lineno})` : `${script} could not be started`);
  worker.onmessageerror = () => broke("a message to the worker could not be read");
  worker.postMessage(path);
}

/** Beside the page: all addresses of it hold the hash of its files. */
function scriptOf(backend: Backend): string {
  switch (backend) {
    case Backend.WASM:
      return "worker-wasm.js";
    case Backend.WEBGPU:
      return "worker-webgpu.js";
    default:
      return "worker-webnn.js";
  }
}

function endWorker(id: string): void {
  workers.get(id)?.terminate();
  workers.delete(id);
}

/** Asks a worker of its own, because what a page is offered is not always offered to workers. */
function probe(call: bigint): void {
  const worker = new Worker("probe.js", { type: "module", name: "probe" });
  const answer = (capabilities: BrowserCapabilities) => {
    clearTimeout(timer);
    worker.terminate();
    link.send(call, { case: "probed", value: create(ProbedSchema, { capabilities }) });
  };
  worker.onmessage = (event: MessageEvent<BrowserCapabilities>) => answer(event.data);
  const fail = (reason: string) => {
    const webgpu = { available: false, unavailableReason: `the browser could not be asked: ${reason}` };
    answer(create(BrowserCapabilitiesSchema, { userAgent: navigator.userAgent, webgpu }));
  };
  worker.onerror = (event) => fail(event.message ?? "no worker");
  // A GPU process that hangs never answers.
  const timer = setTimeout(() => fail(`no answer within ${PROBE_MS / 1000} s`), PROBE_MS);
}
