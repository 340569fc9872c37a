/** Bars: names with scores from 0 to 1. */

import { percent } from "../format";

interface Bar {
  name: string;
  score?: number | undefined;
  more?: string;
}

export function Bars({ bars }: { bars: Bar[] }) {
  return (
    <ul role="list" class="bars">
      {bars.map(({ name, score, more }, index) => (
        <li key={index}>
          <span class="name">
            {name} {more && <small>{more}</small>}
          </span>
          {score !== undefined && (
            <>
              <span class="track" aria-hidden="true">
                <i style={{ width: `${Math.min(1, Math.max(0, score)) * 100}%` }} />
              </span>
              <b>{percent(score)}</b>
            </>
          )}
        </li>
      ))}
    </ul>
  );
}
