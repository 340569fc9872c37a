/** Tasks by name. */
import { openFeatureExtraction } from "./feature-extraction";
import type { OpenTask, Task } from "./task";
import { openTensor } from "./tensor";

export const TASKS: Readonly<Record<string, (options: OpenTask) => Promise<Task>>> = {
  "feature-extraction": openFeatureExtraction,
  tensor: openTensor,
};
