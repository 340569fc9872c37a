/** Stops: texts at which a generation ends, found while it grows, and how it is told meanwhile. Pure. */

export class Stops {
  readonly #stops: readonly string[];
  /** Characters at the end that could be the beginning of a stop. */
  readonly hold: number;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
    this.hold = Math.max(0, ...stops.map((stop) => stop.length - 1));
  }

  /** Where the first of them begins, or -1. */
  find(text: string): number {
    const found = this.#stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    return found.length > 0 ? Math.min(...found) : -1;
  }
}

/** The end of a text from which the library's tidying takes a space once it goes on, as of " ." or " n't". */
const UNTIDY = /\s+(n'?|'[vr]?)?$/;
const FIRST_HALF = /[\uD800-\uDBFF]$/;

/** Text as it is told, bit by bit: never what could still be taken back. */
export class Told {
  #told = "";
  readonly #tell: ((text: string) => void) | undefined;

  constructor(tell: ((text: string) => void) | undefined) {
    this.#tell = tell;
  }

  /** Tells what is new of a text that goes on, save so many characters at its end. */
  upTo(text: string, hold: number): void {
    if (!this.#tell) return;
    const end = Math.min(text.length - hold, UNTIDY.exec(text)?.index ?? text.length);
    const settled = text.slice(0, Math.max(0, end));
    this.all(FIRST_HALF.test(settled) ? settled.slice(0, -1) : settled);
  }

  /** Tells what is new of a text. */
  all(text: string): void {
    // What was told already is not what the text begins with where the tokenizer has thought again.
    if (text.length <= this.#told.length || !text.startsWith(this.#told)) return;
    this.#tell?.(text.slice(this.#told.length));
    this.#told = text;
  }
}
