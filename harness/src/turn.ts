/** Turn: lets the frames in that came while the thread was held. */

interface Scheduler {
  postTask(callback: () => void, options: { priority: "background" }): Promise<void>;
}

const { scheduler } = globalThis as { scheduler?: Scheduler };

/**
 * Returns when the events that have already come were handled.
 *
 * Frames that wait in a socket become events one after another, so a plain turn of the loop lets in only the first.
 * A background task comes after all of them. Where a browser has none, one turn has to do.
 */
export function turn(): Promise<void> {
  if (scheduler) return scheduler.postTask(() => {}, { priority: "background" });
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/**
 * How long frames may lie unread while the thread goes on with work that it has. Some milliseconds of work for a call
 * that was cancelled meanwhile cost less than a turn after each of thousands of short runs.
 */
const UNREAD_MS = 5;

/** Takes a turn where it is due. */
export class Turns {
  #last = 0;

  /** Tells that a turn has just come. */
  came(): void {
    this.#last = performance.now();
  }

  async due(): Promise<void> {
    if (performance.now() - this.#last < UNREAD_MS) return;
    await turn();
    this.came();
  }
}

/** To be awaited where a call can stop halfway. Takes a turn where it is due, and throws where the call was cancelled. */
export type Pause = () => Promise<void>;
