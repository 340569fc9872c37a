/** Models: each with its state, what it runs on, and how fast it answers. */

import { ModelState, type Model } from "../gen/webinfer/v1/model_pb";
import type { Worker } from "../gen/webinfer/v1/pool_pb";
import { count, nameOf, number, percent, time } from "../format";
import { did, parts, type Did } from "../history";
import { chosen, pool, recently, RECENT_SECONDS, seconds } from "../store";
import { backendName, HardwareBadge, StateBadge } from "./badge";

const TONES = {
  [ModelState.UNSPECIFIED]: "",
  [ModelState.REGISTERED]: "",
  [ModelState.LOADING]: "info",
  [ModelState.READY]: "good",
  [ModelState.FAILED]: "bad",
  [ModelState.ASLEEP]: "info",
  [ModelState.SIMULATED]: "bad",
} as const;

/** Those that do something come first. */
export function Models({ models }: { models: readonly Model[] }) {
  const idle = ({ state }: Model) => state === ModelState.REGISTERED;
  const sorted = [...models.filter((model) => !idle(model)), ...models.filter(idle)];
  const workers = pool.value?.browsers.flatMap((browser) => browser.workers) ?? [];
  return (
    <section id="models" tabIndex={-1} aria-labelledby="models-title">
      <h2 id="models-title">Models</h2>
      {sorted.length === 0 ? (
        <p class="empty card">No model is registered. Put one into the models folder, or register it over the API.</p>
      ) : (
        <div class="card scroll" tabIndex={0} role="region" aria-labelledby="models-title">
          <table>
            <thead>
              <tr>
                <th scope="col">Model</th>
                <th scope="col">State</th>
                <th scope="col">Runs on</th>
                <th scope="col" class="right">
                  Requests/s
                </th>
                <th scope="col">Last minute</th>
                <th scope="col" class="right">
                  p50
                </th>
                <th scope="col" class="right">
                  p95
                </th>
                <th scope="col" class="right">
                  Failed
                </th>
                <th scope="col" class="right">
                  Queue
                </th>
                <th scope="col">Where the time goes</th>
              </tr>
            </thead>
            <tbody>
              {sorted.map((model) => (
                <Row key={model.spec?.id} model={model} workers={workers} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Row({ model, workers }: { model: Model; workers: Worker[] }) {
  const { spec, state, error, readyReplicas } = model;
  const id = spec?.id ?? "";
  const now = recently(id);
  const span = Math.max(1, Math.min(RECENT_SECONDS, seconds.value.length));
  const mine = workers.filter((worker) => worker.model === id && worker.backend);
  const kinds = [...new Map(mine.map((worker) => [`${worker.backend} ${worker.adapter}`, worker])).values()];
  return (
    <>
      <tr class={state === ModelState.REGISTERED ? "idle" : ""}>
        <th scope="row">
          <button
            type="button"
            class="plain"
            aria-pressed={chosen.value === id}
            onClick={() => (chosen.value = chosen.value === id ? undefined : id)}
          >
            {id}
          </button>
          <small>{spec?.task}</small>
        </th>
        <td>
          <StateBadge state={nameOf(ModelState, state)} tone={TONES[state]} />
          {readyReplicas > 0 && <small>{count(readyReplicas, "replica")}</small>}
        </td>
        <td>
          {kinds.map((worker) => (
            <div key={worker.id}>
              {backendName(worker.backend)} {worker.dtype} <HardwareBadge {...worker} />
            </div>
          ))}
        </td>
        <td class="right">{number(now.answered / span)}</td>
        <td>
          <Spark values={seconds.value.slice(-60).map((second) => did(second, id).answered)} />
        </td>
        <td class="right">{now.p50 === undefined ? "–" : time(now.p50)}</td>
        <td class="right">{now.p95 === undefined ? "–" : time(now.p95)}</td>
        <td class={`right ${now.failed > 0 ? "bad" : ""}`}>{now.failed > 0 ? number(now.failed) : "–"}</td>
        <td class="right">{number(now.queued)}</td>
        <td>
          <Hops did={now} />
        </td>
      </tr>
      {error && (
        <tr class="why">
          <td colSpan={10}>
            <p class="error">{error}</p>
          </td>
        </tr>
      )}
    </>
  );
}

/** How often something happened, as a small line. */
function Spark({ values }: { values: number[] }) {
  const most = Math.max(...values, 1);
  const x = (index: number) => ((index + 60 - values.length) / 59) * 96;
  const points = values.map((value, index) => `${x(index).toFixed(1)},${(22 - (value / most) * 20).toFixed(1)}`);
  return (
    <svg class="spark" viewBox="0 0 96 24" width="96" height="24" aria-hidden="true">
      <polyline points={points.join(" ")} />
    </svg>
  );
}

/** A bar of the hops, as long as each takes. */
export function Hops({ did }: { did: Did }) {
  const all = parts(did);
  if (all.length === 0) return <span class="muted">–</span>;
  const words = all.map(({ hop, us, part }) => `${hop} ${time(us)}, ${percent(part)}`).join("; ");
  return (
    <span class="hops" role="img" aria-label={words} title={words}>
      {all.map(({ hop, part }, index) => (
        <i key={hop} class={`c${index + 1}`} style={{ flexGrow: part }} />
      ))}
    </span>
  );
}
