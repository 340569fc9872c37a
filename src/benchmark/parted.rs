//! Parted: which of the cells that should be loaded together can be. Pure.

/// Ranges of neighbours that together have at most so many bytes. One that has more is alone: whether it finds room is told
/// by its load.
pub fn parted(bytes: &[u64], room: u64) -> Vec<std::ops::Range<usize>> {
    let (mut parts, mut begin, mut sum) = (Vec::new(), 0, 0_u64);
    for (index, &bytes) in bytes.iter().enumerate() {
        if index > begin && sum.saturating_add(bytes) > room {
            parts.push(begin..index);
            (begin, sum) = (index, 0);
        }
        sum = sum.saturating_add(bytes);
    }
    if begin < bytes.len() {
        parts.push(begin..bytes.len());
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parted;

    proptest! {
        #[test]
        fn all_are_there_once_in_order_and_fit(bytes in proptest::collection::vec(any::<u64>(), 0..20), room: u64) {
            let parts = parted(&bytes, room);
            prop_assert!(parts.iter().cloned().flatten().eq(0..bytes.len()));
            for part in &parts {
                let sum = bytes[part.clone()].iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
                prop_assert!(part.len() == 1 || (part.len() > 1 && sum <= room), "{part:?}");
            }
            // None could have joined the part before it.
            for pair in parts.windows(2) {
                let sum = bytes[pair[0].start..=pair[1].start].iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
                prop_assert!(sum > room || sum == u64::MAX);
            }
        }
    }
}
