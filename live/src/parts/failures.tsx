/** Failures: the last requests that failed, the newest first. */

import { clock } from "../format";
import { chosen, failed } from "../store";

export function Failures() {
  const mine = failed.value.filter(({ model }) => chosen.value === undefined || model === chosen.value);
  return (
    <section id="failures" tabIndex={-1} aria-labelledby="failures-title">
      <h2 id="failures-title">
        Last failed requests <small>{chosen.value ?? "all models"}</small>
      </h2>
      {mine.length === 0 ? (
        <p class="empty card">No request has failed.</p>
      ) : (
        <div class="card scroll failures" tabIndex={0} role="region" aria-labelledby="failures-title">
          <table>
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">Model</th>
                <th scope="col">Reason</th>
                <th scope="col">What its caller was told</th>
              </tr>
            </thead>
            <tbody>
              {mine.toReversed().map(({ timeMs, model, reason, message }, index) => (
                <tr key={mine.length - index}>
                  <td>
                    <time dateTime={new Date(Number(timeMs)).toISOString()}>{clock(Number(timeMs))}</time>
                  </td>
                  <td>{model || "–"}</td>
                  <td>
                    <span class="badge bad">{reason}</span>
                  </td>
                  <td class="message">{message}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
