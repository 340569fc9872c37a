/** Charts: the last minutes, second by second. */

import { HOPS, type Did } from "../history";
import { number, time } from "../format";
import { chosen, paused, seconds, shown } from "../store";
import { Chart, type Line } from "./chart";

const rate = (name: string, colour: string, of: (did: Did) => number): Line => ({ name, colour, of });
const latency = (name: string, colour: string, of: (did: Did) => number | undefined): Line => ({ name, colour, of });

const REQUESTS = [rate("answered", "c1", (did) => did.answered), rate("failed", "bad", (did) => did.failed)];
const LATENCY = [
  latency("p99", "c3", (did) => did.p99),
  latency("p95", "c2", (did) => did.p95),
  latency("p50", "c1", (did) => did.p50),
];
const ITEMS = [rate("items", "c1", (did) => did.items), rate("batches", "c2", (did) => did.batches)];
const TOKENS = [rate("tokens", "c4", (did) => did.tokens)];
const QUEUE = [rate("waiting", "c2", (did) => did.queued)];
const HOP_LINES: Line[] = HOPS.map((hop, index) => ({
  name: hop,
  colour: `c${index + 1}`,
  of: (did) => (did.batches > 0 ? did.hops[hop] / did.batches : undefined),
}));

export function Charts({ still }: { still: boolean }) {
  const dids = shown.value;
  const ends = (paused.value ?? seconds.value).map(({ endMs }) => Number(endMs) / 1000);
  const given = { dids, ends };
  const slowest = chosen.value ? "" : ", of the slowest model";
  return (
    <section id="charts" tabIndex={-1} aria-labelledby="charts-title">
      <h2 id="charts-title">
        Last five minutes <small>{chosen.value ?? "all models"}</small>
        {still && <span class="badge warn">paused</span>}
      </h2>
      <div class="charts">
        <Chart title="Requests" unit="a second" lines={REQUESTS} format={number} {...given} />
        <Chart title="Latency" unit={`time to answer${slowest}`} lines={LATENCY} format={time} {...given} />
        <Chart title="Time of a batch" unit="by hop" lines={HOP_LINES} format={time} stacked {...given} />
        <Chart title="Queue" unit="items that wait" lines={QUEUE} format={number} {...given} />
        <Chart title="Items and batches" unit="a second" lines={ITEMS} format={number} {...given} />
        <Chart title="Tokens" unit="a second" lines={TOKENS} format={number} {...given} />
      </div>
    </section>
  );
}
