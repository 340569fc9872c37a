//! Sizes that are known, or that have a name: what shapes are computed with before a graph runs.

use std::collections::HashMap;

/// Names that one size is multiplied of, at most.
const MOST_FACTORS: usize = 8;

/// A size, or a whole number made of sizes: a number times names. Names stand for what is not negative.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dim {
    factor: i64,
    /// In order.
    names: Vec<u32>,
}

impl Dim {
    /// One that is known.
    pub fn known(number: i64) -> Self {
        Self { factor: number, names: Vec::new() }
    }

    /// Its number, where it is known.
    pub fn number(&self) -> Option<i64> {
        self.names.is_empty().then_some(self.factor)
    }

    /// Whether it is this number.
    pub fn is(&self, number: i64) -> bool {
        self.number() == Some(number)
    }

    /// Whether it cannot be below zero.
    pub fn is_size(&self) -> bool {
        self.factor >= 0
    }

    /// The product.
    pub fn times(&self, other: &Self) -> Option<Self> {
        let factor = self.factor.checked_mul(other.factor)?;
        if factor == 0 {
            return Some(Self::known(0));
        }
        let mut names = [&self.names[..], &other.names].concat();
        names.sort_unstable();
        (names.len() <= MOST_FACTORS).then_some(Self { factor, names })
    }

    /// The quotient, where nothing is left over whatever the names stand for.
    pub fn over(&self, other: &Self) -> Option<Self> {
        if other.factor == 0 || self.factor.checked_rem(other.factor)? != 0 {
            return None;
        }
        let mut names = self.names.clone();
        for name in &other.names {
            names.remove(names.binary_search(name).ok()?);
        }
        Some(Self { factor: self.factor / other.factor, names })
    }

    /// Whether both are equal; `None` where that depends on what the names stand for.
    pub fn equals(&self, other: &Self) -> Option<bool> {
        if self == other {
            return Some(true);
        }
        let never = |one: &Self, other: &Self| one.is_size() && other.factor < 0 && other.names.is_empty();
        let differ = self.number().is_some() && other.number().is_some();
        (differ || never(self, other) || never(other, self)).then_some(false)
    }
}

/// The names that were given. The same description has the same name.
#[derive(Default)]
pub struct Symbols {
    names: HashMap<String, u32>,
    /// Sizes of what was cut off at another size, or is shorter.
    cut: HashMap<Dim, Dim>,
}

impl Symbols {
    /// The name of what is described so.
    pub fn named(&mut self, what: String) -> Dim {
        let next = self.names.len() as u32;
        Dim { factor: 1, names: vec![*self.names.entry(what).or_insert(next)] }
    }

    /// The size of the first elements, up to `end`, of `all`: `end`, or all where they are fewer. So with something of the
    /// size of `end` it goes together only if it is that size, save where all is a single one.
    pub fn cut(&mut self, end: &Dim, all: i64) -> Dim {
        let size = self.named(format!("{all} up to {end:?}"));
        if all > 1 {
            self.cut.insert(size.clone(), end.clone());
        }
        size
    }

    /// The sum of two sizes.
    pub fn sum(&mut self, one: &Dim, other: &Dim) -> Option<Dim> {
        match (one.number(), other.number()) {
            (Some(one), Some(other)) => Some(Dim::known(one.checked_add(other)?)),
            (Some(0), _) => Some(other.clone()),
            (_, Some(0)) => Some(one.clone()),
            // What may be below zero gets no name.
            _ if !one.is_size() || !other.is_size() => None,
            _ => {
                let mut both = [format!("{one:?}"), format!("{other:?}")];
                both.sort();
                Some(self.named(both.join("+")))
            }
        }
    }

    /// What a dimension is when two shapes are broadcast together. Where either may be 1, it is one of its own.
    pub fn broadcast(&mut self, one: &Dim, other: &Dim) -> Dim {
        let fixed = |dim: &Dim| dim.number().is_some_and(|number| number != 1);
        if one == other || other.is(1) || fixed(one) || self.cut.get(other) == Some(one) {
            one.clone()
        } else if one.is(1) || fixed(other) || self.cut.get(one) == Some(other) {
            other.clone()
        } else {
            let mut both = [format!("{one:?}"), format!("{other:?}")];
            both.sort();
            self.named(both.join("|"))
        }
    }

    /// The shape of two that are broadcast together.
    pub fn broadcast_all(&mut self, one: &[Dim], other: &[Dim]) -> Vec<Dim> {
        let rank = one.len().max(other.len());
        let at = |dims: &[Dim], index: usize| {
            (index + dims.len()).checked_sub(rank).and_then(|index| dims.get(index).cloned()).unwrap_or(Dim::known(1))
        };
        (0..rank).map(|index| self.broadcast(&at(one, index), &at(other, index))).collect()
    }
}

/// The product of all.
pub fn product(dims: &[Dim]) -> Option<Dim> {
    dims.iter().try_fold(Dim::known(1), |all, dim| all.times(dim))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Dim, Symbols, product};

    /// What a size comes to when its names stand for numbers.
    fn value(dim: &Dim, of: &[i64]) -> i64 {
        dim.names.iter().fold(dim.factor, |all, name| all * of[*name as usize])
    }

    fn dims() -> impl Strategy<Value = Dim> {
        (0i64..6, prop::collection::vec(0u32..3, 0..3)).prop_map(|(factor, names)| {
            let named = |name: u32| Dim { factor: 1, names: vec![name] };
            names.into_iter().fold(Dim::known(factor), |all, name| all.times(&named(name)).unwrap())
        })
    }

    proptest! {
        #[test]
        fn products_and_quotients_are_those_of_the_numbers(one in dims(), other in dims(), of in prop::array::uniform3(1i64..9)) {
            let both = one.times(&other).unwrap();
            prop_assert_eq!(value(&both, &of), value(&one, &of) * value(&other, &of));
            if let Some(part) = one.over(&other) {
                prop_assert_eq!(value(&part, &of) * value(&other, &of), value(&one, &of));
            }
            // Nothing may be divided by a size that may be nothing.
            if !both.is(0) {
                prop_assert_eq!(both.over(&other), Some(one.clone()));
            }
            if let Some(equal) = one.equals(&other) {
                prop_assert_eq!(equal, value(&one, &of) == value(&other, &of));
            }
        }
    }

    #[test]
    fn what_may_be_one_is_not_taken_for_the_other() {
        let mut symbols = Symbols::default();
        let (batch, rows) = (symbols.named("batch".into()), symbols.named("rows".into()));
        assert_eq!(symbols.broadcast(&batch, &Dim::known(1)), batch);
        assert_eq!(symbols.broadcast(&batch, &Dim::known(7)), Dim::known(7));
        let both = symbols.broadcast(&batch, &rows);
        assert!(both != batch && both != rows);
        assert_eq!(symbols.broadcast(&rows, &batch), both);
        assert_eq!(product(&[batch.clone(), Dim::known(0)]), Some(Dim::known(0)));
        assert_eq!(batch.equals(&Dim::known(-1)), Some(false));
        assert_eq!(batch.equals(&rows), None);
        assert_eq!(symbols.sum(&batch, &Dim::known(-1)), None);
        // A table of 512 rows, cut off at the rows of a batch, is added to them; one of a single row need not be cut.
        let (cut, single) = (symbols.cut(&rows, 512), symbols.cut(&rows, 1));
        assert_eq!(symbols.broadcast(&cut, &rows), rows);
        assert_eq!(symbols.broadcast(&rows, &cut), rows);
        assert!(symbols.broadcast(&cut, &batch) != cut && symbols.broadcast(&single, &rows) != rows);
    }
}
