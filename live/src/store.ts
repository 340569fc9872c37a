/** Store: what the page knows, and what it is set to. */

import { computed, signal } from "@preact/signals";
import type { Model } from "./gen/webinfer/v1/model_pb";
import type { FailedRequest, PoolStatus, Second } from "./gen/webinfer/v1/pool_pb";
import { did, sum } from "./history";

/** Whether the service is there. */
export type Link =
  | { state: "connecting" }
  | { state: "open" }
  /** Since when, in milliseconds since 1970, and why. */
  | { state: "lost"; since: number; why: string };

/** Failed requests that are kept. */
const MOST_FAILED = 50;
/** What is told of now is told of as many seconds. */
export const RECENT_SECONDS = 10;

export const link = signal<Link>({ state: "connecting" });
export const pool = signal<PoolStatus>();
export const models = signal<readonly Model[]>();
export const seconds = signal<readonly Second[]>([]);
export const failed = signal<readonly FailedRequest[]>([]);

/** The model that is looked at; all where none is chosen. */
export const chosen = signal<string>();
/** What the charts show while they stand still. */
export const paused = signal<readonly Second[]>();

/** What the charts show. */
export const shown = computed(() => (paused.value ?? seconds.value).map((second) => did(second, chosen.value)));

/** What was done of late. */
export const recent = computed(() => recently(chosen.value));

/** What a model, or all of them, did of late. */
export function recently(model: string | undefined) {
  return sum(seconds.value.slice(-RECENT_SECONDS).map((second) => did(second, model)));
}

/** With the failures that came. */
export function fail(fresh: readonly FailedRequest[]): void {
  if (fresh.length > 0) failed.value = [...failed.value, ...fresh].slice(-MOST_FAILED);
}

export function pause(): void {
  paused.value = paused.value ? undefined : seconds.value;
}
