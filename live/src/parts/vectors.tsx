/** Vectors: the embeddings of items, and how alike they are. */

import { useEffect, useRef } from "preact/hooks";
import { colour, isDark } from "../theme";
import { cosine, norm } from "../vectors";

interface Props {
  vectors: number[][];
  names: string[];
}

export function Vectors({ vectors, names }: Props) {
  const size = vectors[0]?.length ?? 0;
  return (
    <>
      <p class="muted">
        {vectors.length > 1 ? `${vectors.length} vectors` : "A vector"} of {size} dimensions
      </p>
      {vectors.map((vector, index) => (
        <figure key={index} class="vector">
          <figcaption>
            {names[index] ?? "the picture"} <small>length {norm(vector).toFixed(3)}</small>
          </figcaption>
          <Strip vector={vector} />
        </figure>
      ))}
      {vectors.length > 1 && <Likeness vectors={vectors} names={names} />}
    </>
  );
}

/** Each component as a bar, above or below the middle. */
function Strip({ vector }: { vector: number[] }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const { width, height } = context.canvas;
    const most = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
    context.clearRect(0, 0, width, height);
    vector.forEach((value, index) => {
      context.fillStyle = colour(value < 0 ? "c2" : "c1");
      const [x, next] = [index, index + 1].map((at) => (at / vector.length) * width);
      context.fillRect(x ?? 0, height / 2, Math.max(1, (next ?? 0) - (x ?? 0)), (-value / most) * (height / 2));
    });
  }, [vector, isDark.value]);
  const first = vector.slice(0, 4).map((value) => value.toFixed(3));
  return <canvas ref={canvas} width={768} height={40} role="img" aria-label={`It begins with ${first.join(", ")}`} />;
}

function Likeness({ vectors, names }: Props) {
  return (
    <table class="likeness">
      <caption>Cosine similarity</caption>
      <thead>
        <tr>
          <td />
          {vectors.map((_vector, index) => (
            <th key={index} scope="col">
              {index + 1}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {vectors.map((left, row) => (
          <tr key={row}>
            <th scope="row">
              {row + 1} <span class="name">{names[row]}</span>
            </th>
            {vectors.map((right, column) => {
              const value = cosine(left, right);
              const strength = `${Math.round(Math.max(0, value) * 70)}%`;
              return (
                <td key={column} style={{ "--strength": strength }}>
                  {value.toFixed(3)}
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
