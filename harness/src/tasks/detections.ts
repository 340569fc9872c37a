/** Detections: boxes as they travel. */
import { finite, type Scored } from "./outputs";
import type { Output } from "./task";

/** A box, as the library gives it. */
export interface Boxed extends Scored {
  box: { xmin: number; ymin: number; xmax: number; ymax: number };
}

export function detections(boxes: Boxed[]): Output {
  const detections = boxes.map(({ label, score, box }) => ({
    label,
    score: finite(score),
    xMin: finite(box.xmin, "a box"),
    yMin: finite(box.ymin, "a box"),
    xMax: finite(box.xmax, "a box"),
    yMax: finite(box.ymax, "a box"),
  }));
  detections.sort((left, right) => right.score - left.score);
  return { case: "detections", value: { detections } };
}
