//! Limits: whether there is room for a replica, known before it is loaded. Pure.

use crate::{
    execution::Backend,
    models::{Activations, Dtype, Weights},
};

/// WebAssembly's memory has 32-bit addresses.
const HEAP: u64 = 4 << 30;
/// Every adapter takes tensors of that size: the least that WebGPU allows for a buffer (`maxBufferSize`). What kernels can read
/// at once may be less (`maxStorageBufferBindingSize`): the runtime then gives them a tensor in parts.
pub const ANY_BUFFER: u64 = 256 << 20;

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What the replica is to run on.
    pub backend: Backend,
    /// Bytes of memory that are free; `None` where that is not known.
    pub free: Option<u64>,
    /// Bytes of the largest buffer that the adapter takes; `None` where there is no adapter, or it did not tell.
    pub buffer: Option<u64>,
}

impl Limits {
    /// Whether a replica can be loaded; the error tells what it lacks.
    pub fn check(&self, weights: Weights) -> Result<(), String> {
        let (heap, load) = (weights.heap(self.backend), weights.to_load());
        if heap > HEAP {
            let (heap, most) = (bytes(heap), bytes(HEAP));
            return Err(format!("it takes some {heap} of the runtime's memory, and WebAssembly has {most}"));
        }
        if let Some(most) = self.buffer.filter(|most| weights.largest > *most) {
            let (largest, most) = (bytes(weights.largest), bytes(most));
            return Err(format!("its largest tensor has {largest}, and the adapter takes {most} in a buffer"));
        }
        match self.free {
            Some(free) if load > free => {
                let (load, all, free) = (bytes(load), bytes(weights.bytes()), bytes(free));
                Err(format!("to load its {all} of weights takes some {load} of memory, and {free} are free"))
            }
            _ => Ok(()),
        }
    }

    /// Why a replica cannot be loaded, and in which of the other precisions that the folder has it could be.
    pub fn explain(&self, shortage: &str, others: &[(Dtype, Weights)]) -> String {
        let fitting = others.iter().filter(|(_, weights)| self.check(*weights).is_ok());
        let named = fitting.map(|(dtype, weights)| format!("{} ({})", dtype.name(), bytes(weights.to_load())));
        let named = named.collect::<Vec<_>>().join(", ");
        let names = others.iter().map(|(dtype, _)| dtype.name()).collect::<Vec<_>>().join(", ");
        match (named.is_empty(), names.is_empty()) {
            (false, _) => format!("{shortage}; of the folder's other precisions there is room for: {named}"),
            (true, false) => format!("{shortage}; there is no room for the folder's other precisions, either: {names}"),
            (true, true) => format!("{shortage}; the folder has no other precision"),
        }
    }

    /// What is to be said of the largest batches of a replica that can be loaded, where these may not find room.
    pub fn warn(&self, weights: Weights, runs: Activations) -> Option<String> {
        let free = self.free.unwrap_or(u64::MAX);
        let (heap, load) = (weights.heap(self.backend), weights.loaded());
        if heap.saturating_add(runs.bytes) <= HEAP && load.saturating_add(runs.bytes) <= free {
            return None;
        }
        let Activations { items, length, bytes: run } = runs;
        let (run, free) = (bytes(run), self.free.map_or("an unknown part".to_owned(), bytes));
        Some(format!(
            "a batch of {items} x {length} tokens may find no room: by estimate it takes {run} beside the replica's {}, and \
             {free} of the memory is free; see --max-batch-tokens",
            bytes(load)
        ))
    }
}

/// A number of bytes for people.
fn bytes(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    match bytes as f64 / MIB {
        mib if mib >= 1024.0 => format!("{:.1} GiB", mib / 1024.0),
        mib if mib >= 10.0 => format!("{mib:.0} MiB"),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Backend, HEAP, Limits, Weights};
    use crate::models::{Activations, Dtype};

    fn weights() -> impl Strategy<Value = Weights> {
        let size = || prop_oneof![0u64..1 << 20, 0u64..1 << 34, any::<u64>()];
        (size(), size(), size()).prop_map(|(inside, beside, largest)| Weights { inside, beside, largest })
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let size = || proptest::option::of(prop_oneof![0u64..1 << 30, 0u64..1 << 36, any::<u64>()]);
        let backend = proptest::sample::select(vec![Backend::Wasm, Backend::WebGpu, Backend::WebNnCpu]);
        (backend, size(), size()).prop_map(|(backend, free, buffer)| Limits { backend, free, buffer })
    }

    proptest! {
        /// What is within every limit is never refused, and what is beyond one always is.
        #[test]
        fn refused_is_what_is_beyond_a_limit(weights in weights(), limits in limits()) {
            let beyond = weights.heap(limits.backend) > HEAP
                || limits.free.is_some_and(|free| weights.to_load() > free)
                || limits.buffer.is_some_and(|buffer| weights.largest > buffer);
            prop_assert_eq!(limits.check(weights).is_err(), beyond);
        }

        /// Weights that do not even fit into WebAssembly's memory as they are never pass.
        #[test]
        fn above_the_ceiling_nothing_passes(inside in HEAP..=u64::MAX, beside in any::<u64>(), free in any::<u64>()) {
            let limits = Limits { backend: Backend::Wasm, free: Some(free), buffer: None };
            let over = limits.check(Weights { inside, beside, largest: 0 });
            prop_assert!(over.is_err_and(|message| message.contains("4.0 GiB")));
            let beside = Weights { inside: 0, beside: inside, largest: 0 };
            prop_assert!(limits.check(beside).is_err());
        }

        /// A precision is named as one that there is room for exactly where there is.
        #[test]
        fn suggested_is_what_fits(others in proptest::collection::vec(weights(), 0..Dtype::ALL.len()), limits in limits()) {
            let others: Vec<_> = Dtype::ALL.into_iter().zip(others).collect();
            let said = limits.explain("no room", &others);
            let (_, room) = said.split_once("room for: ").unwrap_or_default();
            let named: Vec<_> = room.split(", ").map(|part| part.split(' ').next().unwrap_or_default()).collect();
            for (dtype, weights) in &others {
                prop_assert_eq!(named.contains(&dtype.name()), limits.check(*weights).is_ok(), "{}", said);
            }
        }

        /// More memory never makes of what has room what has none.
        #[test]
        fn more_memory_does_no_harm(weights in weights(), limits in limits(), more in any::<u64>()) {
            let larger = Limits { free: limits.free.map(|free| free.saturating_add(more)), ..limits };
            prop_assert!(limits.check(weights).is_err() || larger.check(weights).is_ok());
        }

        /// Who is warned of a batch has no room for it.
        #[test]
        fn a_warning_has_a_reason(weights in weights(), limits in limits(), run in any::<u64>()) {
            let warned = limits.warn(weights, Activations { items: 1, length: 1, bytes: run }).is_some();
            let no_heap = weights.heap(limits.backend).saturating_add(run) > HEAP;
            let no_memory = limits.free.is_some_and(|free| weights.loaded().saturating_add(run) > free);
            prop_assert_eq!(warned, no_heap || no_memory);
        }
    }

    #[test]
    fn figures_are_told() {
        let limits = Limits { backend: Backend::WebGpu, free: Some(2 << 30), buffer: Some(128 << 20) };
        let large = Weights { inside: 0, beside: 1 << 30, largest: 64 << 20 };
        let small = Weights { inside: 0, beside: 256 << 20, largest: 16 << 20 };
        let shortage = limits.check(large).unwrap_err();
        assert!(shortage.contains("1.0 GiB of weights") && shortage.ends_with("2.0 GiB are free"), "{shortage}");
        let said = limits.explain(&shortage, &[(Dtype::Fp16, large), (Dtype::Q8, small)]);
        assert!(said.contains("room for: q8 ("), "{said}");
        let said = limits.explain(&shortage, &[(Dtype::Fp16, large)]);
        assert!(said.ends_with("no room for the folder's other precisions, either: fp16"), "{said}");
        let tensor = limits.check(Weights { largest: 500 << 20, ..small }).unwrap_err();
        assert_eq!(tensor, "its largest tensor has 500 MiB, and the adapter takes 128 MiB in a buffer");
    }
}
