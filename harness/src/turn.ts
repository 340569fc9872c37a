/** Turn: calls back when the events that have already come were handled. */

interface Scheduler {
  postTask(callback: () => void, options: { priority: "background" }): Promise<void>;
}

const { scheduler } = globalThis as { scheduler?: Scheduler };

/**
 * Frames that wait in a socket become events one after another, so a plain turn of the loop lets in only the first.
 * A background task comes after all of them. Where a browser has none, one turn has to do.
 */
export function turn(callback: () => void): () => void {
  if (scheduler) return () => void scheduler.postTask(callback, { priority: "background" });
  const channel = new MessageChannel();
  channel.port1.onmessage = callback;
  return () => channel.port2.postMessage(null);
}
