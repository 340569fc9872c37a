/** Numbers: how it goes now, at a glance. */

import { BrowserState } from "../gen/webinfer/v1/pool_pb";
import { number, percent, time } from "../format";
import { parts } from "../history";
import { chosen, pool, recent, RECENT_SECONDS, seconds } from "../store";

export function Numbers() {
  const now = recent.value;
  const span = Math.max(1, Math.min(RECENT_SECONDS, seconds.value.length));
  const rate = (many: number) => number(many / span);
  const latency = (us: number | undefined) => (us === undefined ? "–" : time(us));
  const tried = now.answered + now.failed;
  const slowest = parts(now).reduce<{ hop: string; part: number } | undefined>(
    (most, hop) => (most && most.part >= hop.part ? most : hop),
    undefined,
  );
  const browsers = pool.value?.browsers ?? [];
  const ready = browsers.filter(({ state }) => state === BrowserState.READY).length;
  return (
    <section aria-label={`Numbers of the last ${RECENT_SECONDS} seconds, ${chosen.value ?? "all models"}`}>
      <dl class="numbers">
        <Number name="requests/s" value={rate(now.answered)} more="answered" />
        <Number
          name="failed"
          value={tried ? percent(now.failed / tried) : "–"}
          more={`${rate(now.failed)} a second`}
          tone={now.failed > 0 ? "bad" : undefined}
        />
        <Number name="p50" value={latency(now.p50)} more="of the slowest second" />
        <Number name="p95" value={latency(now.p95)} more={`p99 ${latency(now.p99)}`} />
        <Number name="items/s" value={rate(now.items)} more={`${rate(now.tokens)} tokens/s`} />
        <Number
          name="queue"
          value={number(now.queued)}
          more={slowest ? `${percent(slowest.part)} of time in ${slowest.hop}` : "items"}
        />
        <Number
          name="browsers"
          value={`${ready} of ${pool.value?.wantedBrowsers ?? 0}`}
          more="ready"
          tone={ready < (pool.value?.wantedBrowsers ?? 0) ? "bad" : undefined}
        />
      </dl>
    </section>
  );
}

function Number(props: { name: string; value: string; more: string; tone?: "bad" | undefined }) {
  return (
    <div class={`number ${props.tone ?? ""}`}>
      <dt>{props.name}</dt>
      <dd>
        <strong>{props.value}</strong> <span>{props.more}</span>
      </dd>
    </div>
  );
}
