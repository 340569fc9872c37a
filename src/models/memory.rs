//! Memory: what a replica takes of it, from the sizes of its files. The factors were measured: see benches/README.md.

use crate::execution::Backend;

const MIB: u64 = 1024 * 1024;
/// Shapes that the page makes sessions for: one item or as many as there may be, in four lengths.
const SHAPES: u64 = 8;
/// What the runtime takes besides, in a browser that is up.
const RUNTIME: u64 = 100 * MIB;

/// Bytes of a model's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Inside the graphs.
    pub inside: u64,
    /// In files beside them.
    pub beside: u64,
    /// Of the largest tensor.
    pub largest: u64,
}

impl Weights {
    /// Bytes of all of them.
    pub fn bytes(self) -> u64 {
        self.inside.saturating_add(self.beside)
    }

    /// Most that a browser's processes take for a replica on top of what they have, which is while it loads: the page's copy
    /// of the files, and those that the runtime makes to read a graph, and to lay its weights out for its kernels.
    pub fn to_load(self) -> u64 {
        self.sum(44, 27)
    }

    /// What they keep of that: the runtime's memory does not shrink.
    pub fn loaded(self) -> u64 {
        self.sum(34, 17)
    }

    /// What they take for the shapes that have sessions of their own on WebNN: in each, the weights and what the browser makes of
    /// them.
    pub fn in_shapes(self) -> u64 {
        self.bytes().saturating_mul(2 * SHAPES)
    }

    /// Most of the runtime's own memory, of which WebAssembly has only so much. On WebGPU weights beside the graph go past it.
    pub fn heap(self, backend: Backend) -> u64 {
        self.sum(30, if backend == Backend::WebGpu { 0 } else { 14 })
    }

    /// Tenths of the weights inside and beside, with the runtime.
    fn sum(self, inside: u64, beside: u64) -> u64 {
        let tenths =
            |bytes: u64, tenths: u64| (bytes / 10).saturating_mul(tenths).saturating_add(bytes % 10 * tenths / 10);
        [tenths(self.inside, inside), tenths(self.beside, beside)].into_iter().fold(RUNTIME, u64::saturating_add)
    }
}

/// Sizes inside a model that runs on tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Components of a token's vector.
    pub width: u64,
    /// Components inside a layer.
    pub inner: u64,
    /// Heads of its attention.
    pub heads: u64,
    /// Tokens of the longest text.
    pub positions: u64,
}

/// What a run holds beside the weights, as an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activations {
    /// Items that run together.
    pub items: u64,
    /// Tokens of each.
    pub length: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Shape {
    /// Those of the largest batch of the longest texts. Layers run one after the other and use the same memory again, so it
    /// is that of one: the vectors that go through it, and the scores of its attention before and after they are normalised.
    pub fn activations(self, most_items: u64, most_tokens: u64) -> Activations {
        const FLOAT: u64 = 4;
        let length = self.positions.min(most_tokens).max(1);
        let items = (most_tokens / length).clamp(1, most_items.max(1));
        let times = |factors: &[u64]| factors.iter().copied().fold(FLOAT, u64::saturating_mul);
        let vectors =
            times(&[items, length, self.width.saturating_mul(4).saturating_add(self.inner.saturating_mul(2))]);
        let scores = times(&[2, items, self.heads, length, length]);
        Activations { items, length, bytes: vectors.saturating_add(scores) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Backend, Shape, Weights};

    proptest! {
        /// What is kept is never more than what the load takes, nor is the runtime's own part; and none is less than the
        /// weights themselves.
        #[test]
        fn a_load_takes_most(inside in any::<u64>(), beside in any::<u64>()) {
            let weights = Weights { inside, beside, largest: 0 };
            let heap = weights.heap(Backend::Wasm);
            prop_assert!(heap <= weights.loaded() && weights.loaded() <= weights.to_load());
            prop_assert!(heap >= weights.bytes() && weights.heap(Backend::WebGpu) <= heap);
        }

        #[test]
        fn the_largest_batch_keeps_to_the_limits(
            width in any::<u64>(), heads in any::<u64>(), positions in any::<u64>(), items in 0u64..100, tokens in 0u64..100_000,
        ) {
            let shape = Shape { width, inner: width, heads, positions };
            let runs = shape.activations(items, tokens);
            prop_assert!(runs.items >= 1 && runs.items <= items.max(1) && runs.length >= 1);
            prop_assert!(runs.items * runs.length <= tokens.max(1));
            prop_assert!(runs.bytes >= shape.activations(items, tokens / 2).bytes);
        }
    }
}
