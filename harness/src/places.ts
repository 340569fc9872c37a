/** Places: where the words of a tokenizer are in the text that it was given. Pure. */

/** Where a word is, in characters (code points): `begin` is part of it, `end` is not. */
export interface Place {
  begin: number;
  end: number;
}

/** How far behind the word before a word is looked for, in characters: what is unknown to the tokenizer lies between. */
const AHEAD = 4096;

/** Finds words one after the other. Tokenizers fold case and drop accents, and white space they do not keep. */
export class Places {
  /** What is left of each character that can be compared, and which one it is. */
  readonly #folded: { part: string; at: number }[] = [];
  #from = 0;

  constructor(text: string) {
    let at = 0;
    for (const character of text) {
      for (const part of fold(character)) this.#folded.push({ part, at });
      at += 1;
    }
  }

  /** The place of the next word, after the one before; nothing where the text does not have it. */
  next(word: string): Partial<Place> {
    const parts = [...word].flatMap((character) => [...fold(character)]);
    if (parts.length === 0) return {};
    const last = Math.min(this.#folded.length - parts.length, this.#from + AHEAD);
    for (let start = this.#from; start <= last; start++) {
      if (!parts.every((part, offset) => this.#folded[start + offset]!.part === part)) continue;
      this.#from = start + parts.length;
      return { begin: this.#folded[start]!.at, end: this.#folded[this.#from - 1]!.at + 1 };
    }
    return {};
  }
}

function fold(character: string): string {
  return character
    .normalize("NFD")
    .replace(/\p{M}|\s/gu, "")
    .toLowerCase();
}
