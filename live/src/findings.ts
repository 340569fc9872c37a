/** Findings: what is broken, what is slow, and what does not run as it was asked to. */

import { Backend, Hardware } from "./gen/webinfer/v1/execution_pb";
import { ModelState, type Model } from "./gen/webinfer/v1/model_pb";
import {
  BreakerState,
  BrowserState,
  type FailedRequest,
  type PoolStatus,
  type Second,
  type Worker,
} from "./gen/webinfer/v1/pool_pb";
import { age, count, nameOf, time } from "./format";
import { did, parts, sum } from "./history";

/** Something that whoever is on call should know. */
export interface Finding {
  /** "bad" is broken, "warn" is slow or not as asked for, "info" passes by itself. */
  tone: "bad" | "warn" | "info";
  text: string;
  /** The part of the page that tells more. */
  at: "models" | "pool" | "failures" | "charts";
}

/** Failures are counted over as many seconds. */
const FAILED_SECONDS = 60;
/** What is slow is judged by as many seconds. */
const SLOW_SECONDS = 10;
/** Waiting that takes this part of the time, and this long, is worth a word. */
const WAITING_PART = 0.5;
const WAITING_US = 250_000;

/** All there is, the worst first. */
export function findings(
  pool: PoolStatus,
  models: readonly Model[],
  seconds: readonly Second[],
  failed: readonly FailedRequest[],
): Finding[] {
  const all = [
    ...ofPool(pool),
    ...models.flatMap(ofModel),
    ...pool.browsers.flatMap((browser) => browser.workers).flatMap((worker) => ofWorker(worker, models)),
    ...ofFailures(seconds, failed),
    ...models.flatMap(({ spec }) => ofQueue(spec?.id ?? "", seconds)),
  ];
  const order = ["bad", "warn", "info"];
  const unique = [...new Map(all.map((finding) => [finding.text, finding])).values()];
  return unique.sort((left, right) => order.indexOf(left.tone) - order.indexOf(right.tone));
}

function ofPool(pool: PoolStatus): Finding[] {
  const at = "pool";
  const found: Finding[] = pool.browsers
    .filter(({ state }) => state === BrowserState.BACKING_OFF)
    .map(({ id, reason }) => ({ tone: "bad", at, text: `${id} is down${reason && `: ${reason}`}` }));
  if (!pool.browsers.some(({ state }) => state === BrowserState.READY)) {
    const text = "No browser serves";
    found.unshift(
      pool.wantedBrowsers === 0
        ? { tone: "info", at, text: "The pool sleeps: the next request starts a browser" }
        : pool.browsers.some(({ state }) => state === BrowserState.STARTING)
          ? { tone: "warn", at, text: `${text} yet: one is being started` }
          : { tone: "bad", at, text },
    );
  }
  for (const { browser, backend, model, state, retryAfterMs } of pool.breakers) {
    const again = state === BreakerState.OPEN ? `next try in ${age(Number(retryAfterMs))}` : "one try decides";
    const where = `${nameOf(Backend, backend)} in ${browser}`;
    found.push({
      tone: "warn",
      at,
      text: `${model} keeps failing to load on ${where}: its loads are stopped, ${again}`,
    });
  }
  return found;
}

function ofModel({ spec, state, error }: Model): Finding[] {
  const [id, at] = [spec?.id ?? "", "models"] as const;
  switch (state) {
    case ModelState.FAILED:
      return [{ tone: "bad", at, text: error || `${id} could not be loaded` }];
    case ModelState.SIMULATED:
      return [{ tone: "bad", at, text: `${id} is simulated, its answers are placeholders: ${error}` }];
    case ModelState.LOADING:
      return [{ tone: "info", at, text: `${id} is being loaded` }];
    default:
      return [];
  }
}

function ofWorker(worker: Worker, models: readonly Model[]): Finding[] {
  const found: Finding[] = [];
  const { model, backend, hardware, adapter } = worker;
  if (hardware === Hardware.SOFTWARE_ADAPTER) {
    const name = adapter && ` (${adapter})`;
    found.push({ tone: "warn", at: "pool", text: `${model} runs on a software adapter${name}, not on a GPU` });
  }
  const wanted = models.find(({ spec }) => spec?.id === model)?.spec?.backends[0];
  if (wanted && backend && wanted !== backend) {
    const names = [wanted, backend].map((it) => nameOf(Backend, it));
    found.push({ tone: "warn", at: "models", text: `${model} was to run on ${names[0]}, and runs on ${names[1]}` });
  }
  return found;
}

function ofFailures(seconds: readonly Second[], failed: readonly FailedRequest[]): Finding[] {
  const last = seconds.slice(-FAILED_SECONDS);
  const begin = Number(last.at(-1)?.endMs ?? 0) - FAILED_SECONDS * 1000;
  const recent = failed.filter(({ timeMs }) => Number(timeMs) >= begin);
  const ids = new Set(recent.map(({ model }) => model));
  return [...ids].map((model) => {
    const mine = recent.filter((one) => one.model === model);
    // Of those without a model there is the list alone, which is cut.
    const many = model ? sum(last.map((second) => did(second, model))).failed : mine.length;
    const reasons = [...new Set(mine.map(({ reason }) => reason))].join(", ");
    const text = `${count(many, "request")} of ${model || "unknown models"} failed in the last minute: ${reasons}`;
    return { tone: "bad", at: "failures", text };
  });
}

function ofQueue(model: string, seconds: readonly Second[]): Finding[] {
  const now = sum(seconds.slice(-SLOW_SECONDS).map((second) => did(second, model)));
  const queue = parts(now).find(({ hop }) => hop === "queue");
  if (!queue || queue.part < WAITING_PART || queue.us < WAITING_US) return [];
  const text = `${model} waits for workers: ${time(queue.us)} of each batch's time, ${count(now.queued, "item")} queued`;
  return [{ tone: "warn", at: "charts", text }];
}
