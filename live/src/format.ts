/** Format: numbers, times and names as people read them. */

/** A count or a rate: three digits at most before a unit. */
export function number(value: number): string {
  for (const [unit, size] of [
    ["G", 1e9],
    ["M", 1e6],
    ["k", 1e3],
  ] as const) {
    if (value >= size * 0.9995) return `${digits(value / size)}${unit}`;
  }
  return digits(value);
}

function digits(value: number): string {
  if (value === 0) return "0";
  return value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? trim(value.toFixed(1)) : trim(value.toFixed(2));
}

function trim(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** A length of time, of microseconds. */
export function time(us: number): string {
  if (us < 1e3) return `${us.toFixed(0)} µs`;
  if (us < 999.5e3) return `${digits(us / 1e3)} ms`;
  return us < 120e6 ? `${digits(us / 1e6)} s` : age(us / 1e3);
}

/** How long ago something was, of milliseconds. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1e3));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** Bytes. */
export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = count / 1024;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${digits(value)} ${units[unit]}`;
}

/** A part of a whole. */
export function percent(part: number): string {
  return `${(part * 100).toFixed(part > 0 && part < 0.0995 ? 1 : 0)} %`;
}

/** So many of a thing. */
export function count(many: number, one: string, more = `${one}s`): string {
  return `${number(many)} ${many === 1 ? one : more}`;
}

/** The time of the day, of milliseconds since 1970. */
export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString([], { hour12: false });
}

/** What the value of an enum is called: WEBNN_CPU is "webnn-cpu". */
export function nameOf(values: Record<number, string>, value: number): string {
  return (values[value] ?? String(value)).toLowerCase().replaceAll("_", "-");
}
