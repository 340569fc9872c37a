/** Media: pictures and sound that were given or made. */

import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Detection, Samples, Segment } from "../gen/webinfer/v1/inference_pb";
import { percent } from "../format";
import { colour, mask, type Drawing } from "../pixels";
import { wav } from "../wav";

type File = Uint8Array<ArrayBuffer> | undefined;

/** A picture that was made. */
export function Canvas({ drawing, name }: { drawing: Drawing; name: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { width, height, data } = drawing;
  useEffect(() => {
    if (width > 0 && height > 0)
      canvas.current?.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
  }, [drawing]);
  return (
    <figure class="picture">
      <canvas ref={canvas} width={width} height={height} role="img" aria-label={name} />
      <figcaption>
        <small>
          {name}, {width} × {height}
        </small>
      </figcaption>
    </figure>
  );
}

/** The picture that was given, with something over it. */
function Over(props: { file: File; children: ComponentChildren; size?: (width: number, height: number) => void }) {
  const { file, children, size } = props;
  const url = useUrl(file, "");
  const tell = ({ naturalWidth, naturalHeight }: HTMLImageElement) => size?.(naturalWidth, naturalHeight);
  return (
    <div class="picture over">
      {url && <img src={url} alt="The picture that was given" onLoad={(event) => tell(event.currentTarget)} />}
      {children}
    </div>
  );
}

/** Boxes around what was found. */
export function Boxes({ file, detections }: { file: File; detections: Detection[] }) {
  const [view, setView] = useState("0 0 1 1");
  return (
    <>
      <Over file={file} size={(width, height) => setView(`0 0 ${width} ${height}`)}>
        <svg viewBox={view} aria-hidden="true">
          {detections.map(({ xMin, yMin, xMax, yMax }, index) => (
            <rect
              key={index}
              x={xMin}
              y={yMin}
              width={Math.max(0, xMax - xMin)}
              height={Math.max(0, yMax - yMin)}
              stroke={`rgb(${colour(index).join(" ")})`}
              vector-effect="non-scaling-stroke"
            />
          ))}
        </svg>
      </Over>
      <Legend named={detections} none="Nothing was found." />
    </>
  );
}

/** What a picture shows, each segment in a colour. */
export function Masks({ file, segments }: { file: File; segments: Segment[] }) {
  return (
    <>
      <Over file={file}>
        {segments.map((segment, index) => (
          <Layer key={index} segment={segment} index={index} />
        ))}
      </Over>
      <Legend named={segments} none="Nothing was found." />
    </>
  );
}

function Layer({ segment, index }: { segment: Segment; index: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawing = useMemo(() => segment.mask && mask(segment.mask, colour(index)), [segment]);
  useEffect(() => {
    if (drawing && drawing.width > 0 && drawing.height > 0) {
      const image = new ImageData(drawing.data, drawing.width, drawing.height);
      canvas.current?.getContext("2d")?.putImageData(image, 0, 0);
    }
  }, [drawing]);
  return <canvas ref={canvas} width={drawing?.width ?? 0} height={drawing?.height ?? 0} aria-hidden="true" />;
}

function Legend({ named, none }: { named: { label: string; score?: number | undefined }[]; none: string }) {
  if (named.length === 0) return <p class="empty">{none}</p>;
  return (
    <ul role="list" class="legend">
      {named.map(({ label, score }, index) => (
        <li key={index}>
          <i class="dot" style={{ background: `rgb(${colour(index).join(" ")})` }} /> {label || "segment"}{" "}
          {score !== undefined && <b>{percent(score)}</b>}
        </li>
      ))}
    </ul>
  );
}

/** Sound that was made. */
export function Sound({ data, rate }: Samples) {
  const file = useMemo(() => wav(data, rate), [data, rate]);
  const url = useUrl(file, "audio/wav");
  return (
    <figure>
      {url && <audio controls src={url} />}
      <figcaption>
        <small>
          {(data.byteLength / 4 / rate).toFixed(1)} s, {rate} samples a second
        </small>
      </figcaption>
    </figure>
  );
}

/** An address of a file, for as long as it is shown. */
function useUrl(file: File, type: string): string | undefined {
  const url = useMemo(() => file && URL.createObjectURL(new Blob([file], { type })), [file]);
  useEffect(() => () => (url ? URL.revokeObjectURL(url) : undefined), [url]);
  return url;
}
