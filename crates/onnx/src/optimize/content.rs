//! Arithmetic on the numbers of small values, as exporters do it on shapes.

use super::{
    dim::{Dim, Symbols},
    facts::{Content, Fact, of_tensor},
    net::whole,
};
use crate::{
    graph::attribute,
    proto::{NodeProto, tensor_proto::DataType},
};

/// Elements that one number is repeated to.
const MOST_FILLED: i64 = 64;

/// The square root, the negative, and one through each number.
pub fn unary(op: &str, of: &Fact) -> Option<Content> {
    Some(match (op, of.content.as_ref()?) {
        ("Sqrt", Content::Floats(all)) => Content::Floats(all.iter().map(|value| value.sqrt()).collect()),
        ("Reciprocal", Content::Floats(all)) => Content::Floats(all.iter().map(|value| 1.0 / value).collect()),
        ("Neg", Content::Floats(all)) => Content::Floats(all.iter().map(|value| -value).collect()),
        ("Neg", Content::Ints(all)) => {
            Content::Ints(all.iter().map(|number| number.times(&Dim::known(-1))).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// The numbers in another type.
pub fn cast(of: &Fact, to: DataType) -> Option<Content> {
    let content = of.content.as_ref()?;
    match (content, to) {
        (Content::Floats(_), DataType::Float | DataType::Float16) => Some(content.clone()),
        (Content::Ints(_), DataType::Int64) => Some(content.clone()),
        (Content::Ints(all), DataType::Int32) => {
            let fits = |dim: &Dim| dim.number().is_none_or(|number| i32::try_from(number).is_ok());
            all.iter().all(fits).then(|| content.clone())
        }
        (Content::Ints(_), DataType::Float) => {
            Some(Content::Floats(of.numbers()?.into_iter().map(|number| number as f32).collect()))
        }
        _ => None,
    }
}

/// Numbers within limits.
pub fn clip(of: &Fact, least: &Fact, most: &Fact) -> Option<Content> {
    let one = |limit: &Fact| match limit.content.as_ref()? {
        Content::Floats(all) => all.first().copied(),
        Content::Ints(_) => None,
    };
    let (least, most) = (one(least)?, one(most)?);
    match of.content.as_ref()? {
        Content::Floats(all) => Some(Content::Floats(all.iter().map(|value| value.max(least).min(most)).collect())),
        Content::Ints(_) => None,
    }
}

/// An operation on each two numbers, of which one side may have a single one.
pub fn elementwise(op: &str, one: &Fact, other: &Fact, symbols: &mut Symbols) -> Option<Content> {
    fn pairs<T: Clone, U>(one: &[T], other: &[T], mut each: impl FnMut(&T, &T) -> Option<U>) -> Option<Vec<U>> {
        let count = one.len().max(other.len());
        let fits = |side: &[T]| side.len() == count || side.len() == 1;
        let at = |side: &[T], at: usize| side.get(if side.len() == 1 { 0 } else { at }).cloned();
        if !fits(one) || !fits(other) {
            return None;
        }
        (0..count).map(|index| each(&at(one, index)?, &at(other, index)?)).collect()
    }
    // Of more dimensions it would matter which are repeated.
    if one.rank()?.max(other.rank()?) > 1 {
        return None;
    }
    match (one.content.as_ref()?, other.content.as_ref()?) {
        (Content::Ints(one), Content::Ints(other)) => {
            let each = |one: &Dim, other: &Dim| match op {
                "Mul" => one.times(other),
                "Add" => symbols.sum(one, other),
                "Sub" => symbols.sum(one, &Dim::known(other.number()?.checked_neg()?)),
                // Rounding down is another matter for what is below zero.
                "Div" if one.is_size() && other.is_size() => one.over(other),
                "Equal" => one.equals(other).map(|equal| Dim::known(equal.into())),
                _ => None,
            };
            pairs(one, other, each).map(Content::Ints)
        }
        (Content::Floats(one), Content::Floats(other)) => {
            let each = |one: &f32, other: &f32| match op {
                "Mul" => Some(one * other),
                "Div" => Some(one / other),
                "Add" => Some(one + other),
                "Sub" => Some(one - other),
                _ => None,
            };
            pairs(one, other, each).map(Content::Floats)
        }
        _ => None,
    }
}

/// Each number of one or the other.
pub fn choose(truth: &Fact, one: &Fact, other: &Fact) -> Option<Content> {
    let (truth, one, other) = (truth.numbers()?, one.ints()?, other.ints()?);
    if truth.len() != one.len() || truth.len() != other.len() {
        return None;
    }
    let each = |(at, truth): (usize, &i64)| if *truth != 0 { one[at].clone() } else { other[at].clone() };
    Some(Content::Ints(truth.iter().enumerate().map(each).collect()))
}

/// The shape of a value, or a part of it.
pub fn shape(node: &NodeProto, of: &Fact) -> Option<Fact> {
    let unknown = Fact::of(Some(DataType::Int64), None);
    let Some(shape) = &of.shape else { return Some(unknown) };
    let rank = i64::try_from(shape.len()).ok()?;
    let clamp = |at: i64| if at < 0 { at.saturating_add(rank) } else { at }.clamp(0, rank);
    let (start, end) = (clamp(whole(node, "start", 0)), clamp(whole(node, "end", rank)));
    let part = shape.get(usize::try_from(start).ok()?..usize::try_from(end.max(start)).ok()?)?.to_vec();
    let length = Dim::known(i64::try_from(part.len()).ok()?);
    Some(Fact { shape: Some(vec![length]), content: Some(Content::Ints(part)), ..unknown })
}

/// The same numbers in another shape.
pub fn moved(of: &Fact, shape: Option<Vec<Dim>>) -> Fact {
    Fact { kind: of.kind, content: shape.as_ref().and(of.content.clone()), shape }
}

/// One number in a shape that is an input.
pub fn filled(node: &NodeProto, target: &Fact) -> Option<Fact> {
    let value = attribute(node, "value").and_then(|value| value.t.as_deref());
    let value = value.map_or_else(
        || Fact { kind: Some(DataType::Float), content: Some(Content::Floats(vec![0.0])), shape: None },
        of_tensor,
    );
    let shape = target.ints()?.to_vec();
    let count = super::dim::product(&shape)?.number().filter(|count| (0..=MOST_FILLED).contains(count));
    let repeat = |count: i64| match value.content.as_ref()? {
        Content::Ints(one) => Some(Content::Ints(vec![one.first()?.clone(); usize::try_from(count).ok()?])),
        Content::Floats(one) => Some(Content::Floats(vec![*one.first()?; usize::try_from(count).ok()?])),
    };
    Some(Fact { kind: value.kind, content: count.and_then(repeat), shape: Some(shape) })
}
