//! Runs graphs, and remembers each step of a run, so that a run with another weight does again only what comes after it.

use std::{
    collections::HashMap,
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tract_onnx::{
    prelude::{
        Framework, InferenceFact, InferenceModelExt, IntoRunnable, TValue, TVec, Tensor, TractResult,
        TypedRunnableModel,
    },
    tract_core::plan,
};

use crate::error::Error;

/// Bytes of steps that are remembered, of all items together. What is not remembered is run again.
const REMEMBERED: usize = 1 << 30;

/// A model that can be run here.
pub struct Runner {
    plan: Arc<TypedRunnableModel>,
}

pub fn failed(error: impl std::fmt::Display) -> Error {
    // The outermost reason is enough; what is below it speaks of the engine.
    Error::Run(format!("{error:#}"))
}

/// Runs what may panic on a model that it was not made for.
fn guarded<T>(run: impl FnOnce() -> TractResult<T>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(Error::Run("the engine gave up on it".into())),
    }
}

impl Runner {
    /// A model for inputs of the shapes that these have.
    pub fn new(bytes: &[u8], like: &[&Tensor]) -> Result<Self, Error> {
        guarded(|| {
            let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
            let mut model = onnx.model_for_read(&mut Cursor::new(bytes))?;
            for (at, tensor) in like.iter().enumerate() {
                model = model.with_input_fact(at, InferenceFact::dt_shape(tensor.datum_type(), tensor.shape()))?;
            }
            Ok(Self { plan: model.into_optimized()?.into_runnable()? })
        })
    }

    /// Runs all of it.
    pub fn run(&self, inputs: TVec<TValue>) -> Result<TVec<TValue>, Error> {
        guarded(|| self.plan.run(inputs))
    }

    /// Runs what was not run on the same values before.
    pub fn run_again(&self, inputs: TVec<TValue>, memory: &Memory, item: usize) -> Result<TVec<TValue>, Error> {
        guarded(|| {
            self.plan.spawn()?.run_plan_with_eval(inputs, |context, state, node, inputs| {
                match memory.find(item, node.id, &inputs).filter(|_| state.is_none()) {
                    Some(known) => Ok(known.clone()),
                    None => plan::eval(context, state, node, inputs),
                }
            })
        })
    }

    /// Runs all of it for the next item, and remembers how.
    pub fn remember(&self, inputs: TVec<TValue>, memory: &mut Memory) -> Result<(), Error> {
        memory.items.push(HashMap::new());
        guarded(|| {
            self.plan.spawn()?.run_plan_with_eval(inputs, |context, state, node, inputs| {
                let pure = state.is_none();
                if pure && let Some(known) = memory.find(0, node.id, &inputs) {
                    return Ok(known.clone());
                }
                let outputs = plan::eval(context, state, node, inputs.clone())?;
                if pure {
                    memory.keep(node.id, inputs, &outputs);
                }
                TractResult::Ok(outputs)
            })
        })?;
        Ok(())
    }
}

/// What nodes took and gave.
type Steps = HashMap<usize, (TVec<TValue>, TVec<TValue>)>;

/// The steps of runs with a model's own weights. What is the same for all items, as weights that were put in order, is among
/// the steps of the first.
#[derive(Default)]
pub struct Memory {
    items: Vec<Steps>,
    bytes: usize,
}

impl Memory {
    /// How many items were run.
    pub fn items(&self) -> usize {
        self.items.len()
    }

    /// What a node gave for these very values. They are kept with it, so that no other value comes to lie where they are.
    fn find(&self, item: usize, node: usize, inputs: &[TValue]) -> Option<&TVec<TValue>> {
        let same = |one: &TValue, other: &TValue| match (one.as_arc_tensor(), other.as_arc_tensor()) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let all = |known: &[TValue]| {
            known.len() == inputs.len() && known.iter().zip(inputs).all(|(one, other)| same(one, other))
        };
        let mut steps = [item, 0].into_iter().filter_map(|item| self.items.get(item)?.get(&node));
        steps.find(|(known, _)| all(known)).map(|(_, given)| given)
    }

    fn keep(&mut self, node: usize, inputs: TVec<TValue>, outputs: &TVec<TValue>) {
        let bytes = outputs.iter().map(|output| output.volume() * output.datum_type().size_of()).sum::<usize>();
        if self.bytes + bytes > REMEMBERED {
            return;
        }
        self.bytes += bytes;
        if let Some(steps) = self.items.last_mut() {
            steps.insert(node, (inputs, outputs.clone()));
        }
    }
}
