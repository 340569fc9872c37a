//! Order: which cell is measured when, so that a machine that changes meanwhile favours none.

use rand::{SeedableRng, seq::SliceRandom};
use rand_xoshiro::Xoshiro256PlusPlus;

/// One round of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Index of the cell in [`Plan::cells`](super::Plan::cells).
    pub cell: usize,
    /// Which of its rounds, from 0.
    pub round: u32,
}

/// Cells that are loaded together, and measured in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Indexes of the cells, in the order in which they are loaded.
    pub cells: Vec<usize>,
    /// Their rounds, in order.
    pub turns: Vec<Turn>,
}

/// When what is measured.
///
/// Neighbours of the matrix are measured in the same block: they are what is compared. The cells of a block come in an order
/// that is drawn, then in the reverse of it, and so on (A B B A). What changes evenly with time adds the same to each of
/// them wherever the number of rounds is even.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Blocks, one after the other.
    pub blocks: Vec<Block>,
}

impl Schedule {
    /// The schedule of the cells with these indexes: `rounds` of each, with `at_once` cells in a block.
    pub fn new(cells: &[usize], rounds: u32, at_once: u32, seed: u32) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed.into());
        let blocks = cells.chunks(at_once.max(1) as usize).map(|cells| {
            let mut cells = cells.to_vec();
            cells.shuffle(&mut random);
            let turns = (0..rounds).flat_map(|round| {
                let turn = |cell: &usize| Turn { cell: *cell, round };
                let turns: Vec<_> = match round % 2 {
                    0 => cells.iter().map(turn).collect(),
                    _ => cells.iter().rev().map(turn).collect(),
                };
                turns
            });
            Block { turns: turns.collect(), cells }
        });
        Self { blocks: blocks.collect() }
    }
}
