/** Vectors: what there is to tell of embeddings. */

export function norm(vector: readonly number[]): number {
  return Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
}

/** How alike two vectors are, from -1 to 1; 0 where one has no direction. */
export function cosine(left: readonly number[], right: readonly number[]): number {
  const dot = left.reduce((sum, value, index) => sum + value * (right[index] ?? 0), 0);
  return dot / (norm(left) * norm(right) || 1);
}
