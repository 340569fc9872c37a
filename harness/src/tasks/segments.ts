/** Segments: the stretches of speech that Whisper's tokens tell of, with times (Radford et al., 2022, section 2.3). Pure. */

export interface Segment {
  /** Seconds from the start of the window. */
  begin: number;
  /** Not there where the window ends first. */
  end?: number;
  /** Its text. */
  tokens: number[];
  /** Place of its first token in the window's; that is its time, where it has one. */
  at: number;
}

/** Takes the tokens of a window apart. Tokens from `firstTime` on are times, `precision` seconds from one to the next. */
export function segmentsOf(tokens: readonly number[], firstTime: number, precision: number): Segment[] {
  const segments: Segment[] = [];
  let open: Segment | undefined;
  tokens.forEach((token, at) => {
    if (token < firstTime) {
      open ??= { begin: segments.at(-1)?.end ?? 0, tokens: [], at };
      open.tokens.push(token);
      return;
    }
    const time = (token - firstTime) * precision;
    if (!open || open.tokens.length === 0) {
      open = { begin: time, tokens: [], at };
    } else {
      segments.push({ ...open, end: time });
      open = undefined;
    }
  });
  // The last one may be announced alone: something is said there, which the next window tells.
  if (open) segments.push(open);
  return segments;
}

/** What of a window of so many seconds counts, and where the next one begins. */
export interface Cut {
  segments: Segment[];
  /** Seconds from the start of this one. */
  next: number;
}

/** A segment that the window cuts off is left to the next, which begins with it; unless that would bring little on. */
export function cut(segments: Segment[], seconds: number): Cut {
  const last = segments.at(-1);
  const redo = last !== undefined && last.end === undefined && last.begin >= seconds / 4;
  return redo ? { segments: segments.slice(0, -1), next: last.begin } : { segments, next: seconds };
}
