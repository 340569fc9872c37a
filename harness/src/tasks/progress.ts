/** Progress: the tokens of a generation as they come, and the text that they make. */
import { BaseStreamer } from "@huggingface/transformers";

/** What comes while a generation goes on: its tokens, and their text so far. */
export type OnProgress = (tokens: readonly bigint[], text: string) => void;

/**
 * Each token changes the text at its end alone. So what is decoded anew is the last line only; with the token before it,
 * because decoders take white space away from the first one that they see.
 */
export class Progress extends BaseStreamer {
  readonly tokens: bigint[] = [];
  readonly #decode: (tokens: bigint[]) => string;
  readonly #onProgress: OnProgress;
  #isPrompt = true;
  /** Text to the end of the last whole line. */
  #settled = "";
  /** The token that ended it, with those after. */
  #rest: bigint[] = [];
  /** What that token alone decodes to. */
  #lead = "";

  constructor(decode: (tokens: bigint[]) => string, onProgress: OnProgress) {
    super();
    this.#decode = decode;
    this.#onProgress = onProgress;
  }

  override put(value: bigint[][]): void {
    // The prompt comes first.
    if (this.#isPrompt) return void (this.#isPrompt = false);
    const [token] = value[0]!;
    this.tokens.push(token!);
    this.#rest.push(token!);
    const text = this.#settled + this.#decode(this.#rest).slice(this.#lead.length);
    // Bytes of a character that is not whole yet decode to this one.
    this.#onProgress(this.tokens, text.endsWith("\uFFFD") ? text.slice(0, -1) : text);
    if (text.endsWith("\n")) this.#settle(text, token!);
  }

  override end(): void {}

  /** All of the text. */
  text(): string {
    return this.tokens.length > 0 ? this.#decode(this.tokens) : "";
  }

  #settle(text: string, token: bigint): void {
    const lead = this.#decode([token]);
    if (!lead.endsWith("\n")) return;
    this.#settled = text;
    this.#rest = [token];
    this.#lead = lead;
  }
}
