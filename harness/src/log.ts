/** Log: passes on to the service what a realm writes to its console. */
import { create } from "@bufbuild/protobuf";
import { LogSchema } from "./gen/webinfer/bridge/v1/bridge_pb";
import { describe } from "./failure";
import type { Body } from "./link";

/** Characters of a line. */
const LONGEST = 500;
/** Lines in a second: a page that writes without end must not fill the link. */
const MOST_PER_SECOND = 20;
/** Lines that wait for the link to open. */
const MOST_WAITING = 20;

/** Never throws: whoever writes to the console does not expect it. */
function inWords(value: unknown): string {
  try {
    return value instanceof Error ? describe(value) : String(value);
  } catch {
    return "(something without words)";
  }
}

export class Log {
  /** False where the link is not open. */
  readonly #send: (body: Body) => boolean;
  #waiting: string[] = [];
  #second = 0;
  #count = 0;
  #dropped = 0;

  constructor(send: (body: Body) => boolean) {
    this.#send = send;
  }

  add(line: string, now = performance.now()): void {
    const second = Math.floor(now / 1000);
    if (second !== this.#second) [this.#second, this.#count] = [second, 0];
    if (++this.#count > MOST_PER_SECOND) {
      this.#dropped++;
      return;
    }
    const missing = this.#dropped > 0 ? `(${this.#dropped} lines before this one are left out) ` : "";
    this.#dropped = 0;
    this.#say(`${missing}${line}`.slice(0, LONGEST));
  }

  /** Sends what was written before the link was open. */
  flush(): void {
    for (const line of this.#waiting.splice(0)) this.#say(line);
  }

  /** Passes on from now on what is written to the console as a warning or an error. */
  watchConsole(): void {
    for (const level of ["warn", "error"] as const) {
      const write = console[level].bind(console);
      console[level] = (...words: unknown[]) => {
        this.add(words.map(inWords).join(" "));
        write(...words);
      };
    }
  }

  #say(text: string): void {
    const sent = this.#send({ case: "log", value: create(LogSchema, { text }) });
    if (!sent && this.#waiting.length < MOST_WAITING) this.#waiting.push(text);
  }
}
