/** Chart: lines over time, or areas on top of one another, and what they are where one points. */

import { useEffect, useRef, useState } from "preact/hooks";
import UPlot from "uplot";
import { SECONDS, type Did } from "../history";
import { colour, isDark } from "../theme";

/** One line. */
export interface Line {
  name: string;
  /** Name of a colour of the style sheet. */
  colour: string;
  /** Undefined where there is nothing to tell. */
  of: (did: Did) => number | undefined;
}

interface Props {
  title: string;
  unit: string;
  lines: readonly Line[];
  format: (value: number) => string;
  /** What was done, and when each second ended. */
  dids: readonly Did[];
  ends: readonly number[];
  stacked?: boolean;
}

const HEIGHT = 150;
type Values = (number | undefined)[][];

export function Chart({ title, unit, lines, format, dids, ends, stacked = false }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>(undefined);
  const [pointed, setPointed] = useState<number | null>();
  const values: Values = lines.map(({ of }) => dids.map(of));
  const isEmpty = !values.some((line) => line.some((value) => value));

  useEffect(() => {
    if (!box.current) return;
    const made = new UPlot(options(lines, format, stacked, setPointed), [[]], box.current);
    plot.current = made;
    const resize = new ResizeObserver(() => made.setSize({ width: box.current?.clientWidth ?? 0, height: HEIGHT }));
    resize.observe(box.current);
    return () => {
      resize.disconnect();
      made.destroy();
    };
  }, [isDark.value]);

  useEffect(() => {
    const now = ends.at(-1) ?? Date.now() / 1000;
    const drawn = stacked ? stack(values) : values;
    plot.current?.setData([[...ends], ...drawn.map((line) => line.map((value) => value ?? null))], false);
    plot.current?.batch(() => {
      plot.current?.setScale("x", { min: now - SECONDS, max: now });
      plot.current?.setScale("y", { min: 0, max: top(drawn) });
    });
  }, [dids, isDark.value]);

  const at = pointed ?? dids.length - 1;
  const told = lines.map(({ name, colour }, index) => {
    const value = values[index]?.[at];
    return { name, colour, value: value === undefined ? "–" : format(value) };
  });
  const words = told.map(({ name, value }) => `${name} ${value}`).join(", ");
  return (
    <figure class="card chart">
      <figcaption>
        <strong>{title}</strong> <small>{unit}</small>
        <ul role="list" class="legend" aria-hidden="true">
          {told.map(({ name, colour, value }) => (
            <li key={name}>
              <i class={`dot ${colour}`} /> {name} <b>{value}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div class="plot" ref={box} role="img" aria-label={`${title}, ${unit}, now: ${words}`} />
      {isEmpty && <p class="empty">Nothing in the last five minutes.</p>}
    </figure>
  );
}

/** The highest value, with room above. */
function top(values: Values): number {
  return (
    Math.max(...values.map((line) => line.reduce<number>((most, value) => Math.max(most, value ?? 0), 0)), 1) * 1.1
  );
}

/** Each line on top of those before it. Where there is nothing to tell, there is no area. */
function stack(values: Values): Values {
  const sums: number[] = [];
  return values.map((line) => line.map((value, index) => (sums[index] = (sums[index] ?? 0) + (value ?? 0))));
}

function options(
  lines: readonly Line[],
  format: (value: number) => string,
  stacked: boolean,
  setPointed: (index: number | null | undefined) => void,
): UPlot.Options {
  const [text, grid] = [colour("muted"), colour("line")];
  const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const drawn = lines.map(({ name, colour: of }, index): UPlot.Series => {
    const stroke = colour(of);
    // Of areas on top of one another, each covers the part that is another's.
    const area = stacked ? { fill: stroke, width: 0 } : index === 0 && lines.length < 3 ? { fill: fade(stroke) } : {};
    return { label: name, stroke, width: 1.5, points: { show: false }, ...area };
  });
  return {
    width: 300,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "charts" }, drag: { x: false, y: false }, points: { show: !stacked, size: 6 }, y: false },
    scales: { x: { time: true, auto: false }, y: { auto: false } },
    axes: [
      { ...axis, values: (_plot, times) => times.map(clock), size: 24, incrs: [60], space: 40 },
      { ...axis, values: (_plot, values) => values.map(format), size: 58, space: 32 },
    ],
    series: [{}, ...drawn],
    bands: stacked ? lines.slice(1).map((_line, index): UPlot.Band => ({ series: [index + 2, index + 1] })) : [],
    hooks: { setCursor: [({ cursor }) => setPointed(cursor.idx)] },
  };
}

function fade(colour: string): string {
  return colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.14)");
}

function clock(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
}
