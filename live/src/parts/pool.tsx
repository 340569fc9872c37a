/** Pool: the browsers with their workers, and the breakers that are not closed. */

import {
  BreakerState,
  BrowserDuty,
  BrowserState,
  WorkerState,
  type Breaker,
  type Browser,
  type PoolStatus,
  type Worker,
} from "../gen/webinfer/v1/pool_pb";
import { age, bytes, count, nameOf, number } from "../format";
import { backendName, HardwareBadge, StateBadge } from "./badge";
import { Capabilities } from "./capabilities";

export function Pool({ pool }: { pool: PoolStatus }) {
  const { browsers, breakers, wantedBrowsers, minBrowsers, maxBrowsers } = pool;
  return (
    <section id="pool" tabIndex={-1} aria-labelledby="pool-title">
      <h2 id="pool-title">
        Browsers{" "}
        <small>
          {wantedBrowsers} should serve, of {minBrowsers} to {maxBrowsers}
        </small>
      </h2>
      {breakers.map((breaker) => (
        <OneBreaker key={`${breaker.browser} ${breaker.backend} ${breaker.model}`} {...breaker} />
      ))}
      {browsers.length === 0 ? (
        <p class="empty card">
          {wantedBrowsers === 0
            ? "The pool sleeps. The next request starts a browser."
            : "No browser is there. The service's log tells why."}
        </p>
      ) : (
        <div class="browsers">
          {browsers.map((browser) => (
            <OneBrowser key={browser.id} {...browser} />
          ))}
        </div>
      )}
      <Capabilities />
    </section>
  );
}

function OneBreaker({ browser, backend, model, state, retryAfterMs }: Breaker) {
  const again = state === BreakerState.OPEN ? `the next try is in ${age(Number(retryAfterMs))}` : "one try decides";
  return (
    <p class="card breaker">
      <StateBadge state={`breaker ${nameOf(BreakerState, state)}`} tone="warn" /> Loads of <b>{model}</b> on{" "}
      {backendName(backend)} in {browser} keep failing and are stopped; {again}.
    </p>
  );
}

const BROWSER_TONES = {
  [BrowserState.UNSPECIFIED]: "",
  [BrowserState.STARTING]: "info",
  [BrowserState.READY]: "good",
  [BrowserState.BACKING_OFF]: "bad",
} as const;

const WORKER_TONES = {
  [WorkerState.UNSPECIFIED]: "",
  [WorkerState.STARTING]: "info",
  [WorkerState.LOADING]: "info",
  [WorkerState.READY]: "good",
  [WorkerState.LEAVING]: "warn",
} as const;

function OneBrowser(browser: Browser) {
  const { id, product, version, state, duty, reason, pid, memoryBytes, memoryKind, restarts, workers } = browser;
  return (
    <article class="card browser" aria-label={id}>
      <h3>
        {product ? `${product} ${version}` : id}{" "}
        <StateBadge state={nameOf(BrowserState, state)} tone={BROWSER_TONES[state]} />
        {duty !== BrowserDuty.SERVING && <StateBadge state={nameOf(BrowserDuty, duty)} tone="info" />}
      </h3>
      {reason && <p class="error">{reason}</p>}
      <p class="facts">
        <span>{id}</span>
        {pid > 0 && <span>pid {pid}</span>}
        {memoryBytes > 0n && (
          <span>
            <b>{bytes(Number(memoryBytes))}</b> {memoryKind}
          </span>
        )}
        <span class={restarts > 0 ? "warn" : ""}>{restarts > 0 ? count(restarts, "restart") : "no restarts"}</span>
      </p>
      {workers.length === 0 ? (
        <p class="empty">No workers.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label={`Workers of ${id}`}>
          <table>
            <thead>
              <tr>
                <th scope="col">Worker</th>
                <th scope="col">Model</th>
                <th scope="col">Runs on</th>
                <th scope="col" class="right">
                  In flight
                </th>
                <th scope="col" class="right">
                  Batches
                </th>
              </tr>
            </thead>
            <tbody>
              {workers.map((worker) => (
                <OneWorker key={worker.id} {...worker} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </article>
  );
}

function OneWorker(worker: Worker) {
  const { id, state, model, backend, dtype, threads, hardware, adapter, batchesInFlight, batchesRun } = worker;
  return (
    <tr>
      <th scope="row">
        {id} <StateBadge state={nameOf(WorkerState, state)} tone={WORKER_TONES[state]} />
      </th>
      <td>{model}</td>
      <td>
        {backend !== 0 && (
          <>
            {backendName(backend)} {dtype} {threads > 0 && count(threads, "thread")}{" "}
            <HardwareBadge hardware={hardware} adapter={adapter} />
          </>
        )}
      </td>
      <td class="right">{batchesInFlight}</td>
      <td class="right">{number(Number(batchesRun))}</td>
    </tr>
  );
}
