/**
 * Watch: follows the service while the page is looked at, and comes back to it when it was gone.
 *
 * It takes two of the six connections that a browser opens to a service. A page that is hidden takes none, so that many tabs
 * do not wait for one another; the service tells the last minutes again when it is looked at.
 */

import { batch } from "@preact/signals";
import { inWords, models as modelService, pools } from "./api";
import { append } from "./history";
import { fail, failed, link, models, pool, seconds } from "./store";

/** Without a word for this long the service is lost: it tells something each second. */
const SILENCE_MS = 8000;
/** How often models are asked for. */
const MODELS_MS = 2000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 5000;

/** Follows the service for ever. */
export async function watch(): Promise<never> {
  let delay = FIRST_DELAY_MS;
  for (;;) {
    await looked();
    const leaving = new AbortController();
    const hide = () => document.hidden && leaving.abort();
    document.addEventListener("visibilitychange", hide);
    const begun = Date.now();
    const why = await session(leaving).catch(inWords);
    document.removeEventListener("visibilitychange", hide);
    if (document.hidden) continue;
    if (link.value.state !== "lost") link.value = { state: "lost", since: Date.now(), why };
    if (Date.now() - begun > LONGEST_DELAY_MS) delay = FIRST_DELAY_MS;
    await sleep(delay);
    delay = Math.min(delay * 2, LONGEST_DELAY_MS);
  }
}

/** Follows it until something breaks. */
async function session(leaving: AbortController): Promise<string> {
  const { signal } = leaving;
  try {
    return await Promise.race([watchPool(signal), watchActivity(signal), watchModels(signal)]);
  } finally {
    leaving.abort();
  }
}

const ENDED = "the service has ended";
const SILENT = "the service tells nothing any more";

async function watchPool(signal: AbortSignal): Promise<string> {
  for await (const message of pools.watch({}, { signal })) pool.value = message.pool;
  return ENDED;
}

async function watchActivity(signal: AbortSignal): Promise<string> {
  const messages = pools.watchActivity({}, { signal })[Symbol.asyncIterator]();
  for (let first = true; ; first = false) {
    const next = await Promise.race([messages.next(), sleep(SILENCE_MS)]);
    if (!next) return SILENT;
    if (next.done) return ENDED;
    const { seconds: fresh, failedRequests } = next.value;
    batch(() => {
      // It tells all that it knows at first, also what was known before.
      seconds.value = append(first ? [] : seconds.value, fresh);
      if (first) failed.value = [];
      fail(failedRequests);
      link.value = { state: "open" };
    });
  }
}

async function watchModels(signal: AbortSignal): Promise<string> {
  while (!signal.aborted) {
    models.value = (await modelService.list({}, { signal, timeoutMs: SILENCE_MS })).models;
    await sleep(MODELS_MS);
  }
  return ENDED;
}

/** Ends when somebody looks at the page. */
async function looked(): Promise<void> {
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
