/** History: what the models did in the last minutes, second by second, and what follows from it. */

import type { ModelActivity, Second } from "./gen/webinfer/v1/pool_pb";

/** Seconds that are kept. */
export const SECONDS = 300;

/** Where the time of a batch goes, in the order of its way. */
export const HOPS = ["queue", "bridge", "preprocess", "inference", "postprocess"] as const;
export type Hop = (typeof HOPS)[number];

/** What was done in a second, or in several, by one model or by all. */
export interface Did {
  answered: number;
  failed: number;
  items: number;
  batches: number;
  tokens: number;
  queued: number;
  /** Microseconds; of several models those of the slowest one. Undefined where nothing was answered. */
  p50: number | undefined;
  p95: number | undefined;
  p99: number | undefined;
  /** Microseconds of all batches. */
  hops: Record<Hop, number>;
}

const NOTHING: Did = {
  answered: 0,
  failed: 0,
  items: 0,
  batches: 0,
  tokens: 0,
  queued: 0,
  p50: undefined,
  p95: undefined,
  p99: undefined,
  hops: { queue: 0, bridge: 0, preprocess: 0, inference: 0, postprocess: 0 },
};

/** With the seconds that came, the oldest first; what is too old goes. */
export function append(seconds: readonly Second[], fresh: readonly Second[]): Second[] {
  return [...seconds, ...fresh].slice(-SECONDS);
}

/** What was done in a second, by one model or, where none is named, by all. */
export function did(second: Second, model: string | undefined): Did {
  const models = second.models.filter((did) => model === undefined || did.model === model);
  return models.map(one).reduce((sum, next) => ({ ...add(sum, next), queued: sum.queued + next.queued }), NOTHING);
}

/** What was done in several seconds; what waits is what waited at their end. */
export function sum(dids: readonly Did[]): Did {
  return dids.reduce((sum, next) => ({ ...add(sum, next), queued: next.queued }), NOTHING);
}

function one(activity: ModelActivity): Did {
  const quantile = (us: bigint) => (activity.answered > 0 ? Number(us) : undefined);
  const { timings } = activity;
  return {
    answered: activity.answered,
    failed: activity.failed,
    items: activity.items,
    batches: activity.batches,
    tokens: Number(activity.tokens),
    queued: activity.queueItems,
    p50: quantile(activity.p50Us),
    p95: quantile(activity.p95Us),
    p99: quantile(activity.p99Us),
    hops: {
      queue: Number(timings?.queueUs ?? 0),
      bridge: Number(timings?.bridgeUs ?? 0),
      preprocess: Number(timings?.preprocessUs ?? 0),
      inference: Number(timings?.inferenceUs ?? 0),
      postprocess: Number(timings?.postprocessUs ?? 0),
    },
  };
}

function add(left: Did, right: Did): Did {
  return {
    answered: left.answered + right.answered,
    failed: left.failed + right.failed,
    items: left.items + right.items,
    batches: left.batches + right.batches,
    tokens: left.tokens + right.tokens,
    queued: right.queued,
    p50: slower(left.p50, right.p50),
    p95: slower(left.p95, right.p95),
    p99: slower(left.p99, right.p99),
    hops: Object.fromEntries(HOPS.map((hop) => [hop, left.hops[hop] + right.hops[hop]])) as Record<Hop, number>,
  };
}

function slower(left: number | undefined, right: number | undefined): number | undefined {
  return left === undefined ? right : right === undefined ? left : Math.max(left, right);
}

/** Each hop's part of the time of a batch, in its order; none where nothing ran. */
export function parts(did: Did): { hop: Hop; us: number; part: number }[] {
  const all = HOPS.reduce((sum, hop) => sum + did.hops[hop], 0);
  if (all === 0 || did.batches === 0) return [];
  return HOPS.map((hop) => ({ hop, us: did.hops[hop] / did.batches, part: did.hops[hop] / all }));
}
