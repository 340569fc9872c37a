/** Heap: what the page and its workers take, where the browser tells. */

/** A measurement waits for the browser's next garbage collection; one in a while is enough to see a leak. */
const EVERY_MS = 30_000;

interface Measurement {
  bytes: number;
}

/** The one way to see the heaps of workers, too; for isolated pages, and in Chromium alone by now. */
interface Scope {
  measureUserAgentSpecificMemory?(): Promise<Measurement>;
}

export class Heap {
  /** As last measured; 0 where that cannot be. */
  bytes = 0;

  /** Measures from now on. */
  watch(scope: Scope = performance as Scope): void {
    const measure = scope.measureUserAgentSpecificMemory?.bind(scope);
    if (!measure) return;
    const again = async () => {
      // It can be refused, such as while the page is hidden: then the last figure stays.
      this.bytes = (await measure().catch(() => undefined))?.bytes ?? this.bytes;
      setTimeout(() => void again(), EVERY_MS);
    };
    void again();
  }
}
