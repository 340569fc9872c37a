//! Reference: what a model answers to one fixed text, learned from its first replica. A replica that answers otherwise
//! does not come to serve. Pure.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The fixed text. Models of tensors have no such input that fits them all, and are only warmed up.
pub const TEXT: &str = "The same model gives the same answer wherever it runs.";

/// Least cosine of two answers of one model in one precision. Backends round differently, and the more so the fewer the
/// bits; a wrong kernel is far off.
const LEAST: f64 = 0.98;

/// Answers that are kept. What goes beyond begins anew.
const MOST: usize = 1024;

/// The answers known, by what tells models with different answers apart.
#[derive(Debug, Default)]
pub struct References {
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    answer: Vec<f32>,
    /// Whether it comes from the backend that others are measured by.
    trusted: bool,
}

impl References {
    /// Compares an answer with the one known, or takes it for that. One that is `trusted` (WASM is; a GPU is not) is
    /// right against one that is not.
    pub fn judge(&self, model: &str, answer: Vec<f32>, trusted: bool) -> Result<(), String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(model) {
            let cosine = cosine(&known.answer, &answer);
            if cosine >= LEAST {
                known.trusted |= trusted;
                return Ok(());
            }
            if known.trusted || !trusted {
                return Err(format!(
                    "its answer to a fixed text has a cosine of {cosine:.3} to that of the first replica"
                ));
            }
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(model.to_owned(), Known { answer, trusted });
        Ok(())
    }

    /// Forgets the answers of a model's files: somebody unloads it, and may find them wrong.
    pub fn forget(&self, sha256: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|model, _| !model.starts_with(sha256));
    }
}

/// 0 where the two cannot be compared.
fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
    };
    let cosine = dot(left, right) / (dot(left, left) * dot(right, right)).sqrt();
    if left.len() == right.len() && cosine.is_finite() { cosine } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::References;

    #[test]
    fn the_first_answer_is_the_measure_unless_a_trusted_one_differs() {
        let (references, model) = (References::default(), "m");
        references.judge(model, vec![1.0, 0.0], false).unwrap();
        references.judge(model, vec![0.999, 0.01], false).unwrap();
        references.judge(model, vec![0.0, 1.0], false).unwrap_err();
        references.judge(model, vec![1.0, 0.0, 0.0], false).unwrap_err();
        references.judge(model, vec![f32::NAN, 0.0], false).unwrap_err();
        references.judge(model, vec![0.0, 1.0], true).unwrap();
        references.judge(model, vec![1.0, 0.0], false).unwrap_err();
        references.judge(model, vec![1.0, 0.0], true).unwrap_err();
        references.judge("other", vec![1.0, 0.0], false).unwrap();
        references.forget("m");
        references.judge(model, vec![1.0, 0.0], false).unwrap();
    }
}
