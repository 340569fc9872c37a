//! Wanted: the precision of each graph of a model, by what its registration says and its folder has.

use super::{Dtype, Dtypes, Wishes, store::Graph};
use crate::{
    error::{Error, shorten},
    execution::Backend,
};

/// What all graphs are wanted in.
enum Wanted {
    /// What suits the backend best.
    Best,
    /// That dtype.
    Dtype(Dtype),
    /// The first of these that a graph has.
    Bits(u32),
}

/// The dtypes in which a folder has all graphs.
pub fn common(graphs: &[Graph]) -> Vec<Dtype> {
    let has_all = |dtype: &Dtype| graphs.iter().all(|graph| graph.available.contains(dtype));
    Dtype::ALL.into_iter().filter(has_all).collect()
}

/// The dtype of each graph: its own where the registration names one, or else what it says of all; where it says nothing, the
/// one that all have and suits the backend best, or what is best for each. Where it has a limit on error, all graphs are in the
/// dtype that was found to be within.
pub fn dtypes(wishes: &Wishes, within: Option<Dtype>, backend: Backend, graphs: &[Graph]) -> Result<Dtypes, Error> {
    if let Some(name) = wishes.dtypes.keys().find(|name| graphs.iter().all(|graph| graph.name != name.as_str())) {
        let known = graphs.iter().map(|graph| graph.name).collect::<Vec<_>>().join(", ");
        let message = format!("there is no graph {:?}; the model runs {known}", shorten(name));
        return Err(Error::invalid("spec.dtypes", message));
    }
    let wanted = wanted(wishes, within)?;
    let field = if within.is_some() { "spec.max_error" } else { "spec.dtype" };
    let best = Dtype::choose(backend, &common(graphs));
    let dtype = |graph: &Graph| {
        let (field, meant) = match wishes.dtypes.get(graph.name) {
            Some(name) => ("spec.dtypes", Wanted::Dtype(parse("spec.dtypes", name)?)),
            None => match &wanted {
                Wanted::Best => ("spec.dtype", best.map_or(Wanted::Best, Wanted::Dtype)),
                Wanted::Dtype(dtype) => (field, Wanted::Dtype(*dtype)),
                Wanted::Bits(bits) => ("spec.bits", Wanted::Bits(*bits)),
            },
        };
        let found = match meant {
            Wanted::Best => Dtype::choose(backend, &graph.available),
            Wanted::Dtype(dtype) => graph.available.contains(&dtype).then_some(dtype),
            Wanted::Bits(bits) => Dtype::of_bits(bits).iter().copied().find(|dtype| graph.available.contains(dtype)),
        };
        Ok((graph.name, found.ok_or_else(|| missing(field, graph, &meant))?))
    };
    graphs.iter().map(dtype).collect::<Result<_, _>>().map(Dtypes::new)
}

/// A dtype in which a folder has all graphs.
pub struct Candidate {
    /// The dtype.
    pub dtype: Dtype,
    /// Bytes of its files.
    pub bytes: u64,
    /// How far its answers were from the reference at most; `None` where that was not measured.
    pub error: Option<f64>,
}

/// The smallest precision that is known to be within a limit on error.
pub fn within(limit: f64, mut candidates: Vec<Candidate>) -> Result<Dtype, Error> {
    candidates.sort_by_key(|candidate| candidate.bytes);
    let fits = |candidate: &&Candidate| candidate.error.is_some_and(|error| error <= limit);
    if let Some(candidate) = candidates.iter().find(fits) {
        return Ok(candidate.dtype);
    }
    let told = |candidate: &Candidate| match candidate.error {
        Some(error) => format!("{} was measured at {error:.5}", candidate.dtype.name()),
        None => format!("{} was not measured", candidate.dtype.name()),
    };
    let told = candidates.iter().map(told).collect::<Vec<_>>().join(", ");
    let message = format!(
        "no precision is known to be within {limit}: {told}; register the model without a limit and measure it by `webinfer \
         doctor --matrix`, or give a greater one"
    );
    Err(Error::invalid("spec.max_error", message))
}

fn wanted(wishes: &Wishes, within: Option<Dtype>) -> Result<Wanted, Error> {
    let wrong = |message| Err(Error::invalid("spec.max_error", message));
    if !(0.0..1.0).contains(&wishes.max_error) {
        return wrong(format!("{} is not an error: it is 0 where there is no limit, and below 1", wishes.max_error));
    }
    if wishes.max_error > 0.0 {
        let says_more = !wishes.dtype.is_empty() || wishes.bits != 0 || !wishes.dtypes.is_empty();
        return match within {
            _ if says_more => wrong("give either a limit on error or a precision".into()),
            Some(dtype) => Ok(Wanted::Dtype(dtype)),
            None => wrong("there is nothing to measure an error of".into()),
        };
    }
    match (wishes.dtype.as_str(), wishes.bits) {
        ("", 0) => Ok(Wanted::Best),
        ("", bits) if Dtype::of_bits(bits).is_empty() => {
            Err(Error::invalid("spec.bits", format!("{bits} is not a precision; these are: 2, 4, 8, 16, 32")))
        }
        ("", bits) => Ok(Wanted::Bits(bits)),
        (name, 0) => parse("spec.dtype", name).map(Wanted::Dtype),
        _ => Err(Error::invalid("spec.bits", "give either bits or a dtype")),
    }
}

fn parse(field: &str, name: &str) -> Result<Dtype, Error> {
    Dtype::parse(name).ok_or_else(|| {
        let known = Dtype::ALL.map(Dtype::name).join(", ");
        Error::invalid(field, format!("{:?} is not a dtype; these are: {known}", shorten(name)))
    })
}

fn missing(field: &str, graph: &Graph, meant: &Wanted) -> Error {
    let has = graph.available.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ");
    let what = match meant {
        Wanted::Best => Dtype::Fp32.file(graph.name),
        Wanted::Dtype(dtype) => dtype.file(graph.name),
        Wanted::Bits(bits) => {
            let files: Vec<_> = Dtype::of_bits(*bits).iter().map(|dtype| dtype.file(graph.name)).collect();
            files.join(" or ")
        }
    };
    Error::invalid(field, format!("the folder has no {what}; it has {} in: {has}", graph.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{prelude::*, sample::subsequence};

    use super::{Candidate, Graph, common, dtypes, within};
    use crate::{
        execution::Backend,
        models::{Dtype, Wishes},
    };

    fn graphs(encoder: &[Dtype], decoder: &[Dtype]) -> Vec<Graph> {
        let graph = |name, available: &[Dtype]| Graph { name, available: available.to_vec() };
        vec![graph("encoder_model", encoder), graph("decoder_model", decoder)]
    }

    fn named(graphs: &[Graph], wishes: &Wishes) -> Result<String, String> {
        dtypes(wishes, None, Backend::Wasm, graphs).map(|dtypes| dtypes.name()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_graph_gets_what_is_said_of_it_or_of_all() {
        let both = graphs(&[Dtype::Fp32, Dtype::Q8], &[Dtype::Fp32, Dtype::Q8, Dtype::Bnb4]);
        let named = |wishes: &Wishes| named(&both, wishes);
        let own = |graph: &str, dtype: &str| BTreeMap::from([(graph.to_owned(), dtype.to_owned())]);
        assert_eq!(named(&Wishes::default()).unwrap(), "q8");
        assert_eq!(named(&Wishes { dtype: "fp32".into(), ..Wishes::default() }).unwrap(), "fp32");
        assert_eq!(named(&Wishes { bits: 8, ..Wishes::default() }).unwrap(), "q8");
        let mixed = Wishes { dtype: "fp32".into(), dtypes: own("decoder_model", "bnb4"), ..Wishes::default() };
        assert_eq!(named(&mixed).unwrap(), "encoder_model=fp32,decoder_model=bnb4");
        for (wrong, says) in [
            (Wishes { bits: 3, ..Wishes::default() }, "3 is not a precision"),
            (Wishes { bits: 4, ..Wishes::default() }, "no onnx/encoder_model_q4.onnx or "),
            (Wishes { bits: 8, dtype: "q8".into(), ..Wishes::default() }, "either bits or a dtype"),
            (Wishes { bits: 8, max_error: 0.1, ..Wishes::default() }, "either a limit on error or a precision"),
            (Wishes { max_error: f64::NAN, ..Wishes::default() }, "NaN is not an error"),
            (Wishes { dtype: "fp64".into(), ..Wishes::default() }, "\"fp64\" is not a dtype"),
            (Wishes { dtypes: own("model", "fp32"), ..Wishes::default() }, "no graph \"model\""),
            (Wishes { dtypes: own("encoder_model", "q2"), ..Wishes::default() }, "no onnx/encoder_model_q2.onnx"),
        ] {
            let error = named(&wrong).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn graphs_that_have_no_dtype_in_common_get_the_best_of_each() {
        let apart = graphs(&[Dtype::Fp32, Dtype::Fp16], &[Dtype::Q4]);
        assert_eq!(common(&apart), []);
        assert_eq!(named(&apart, &Wishes::default()).unwrap(), "encoder_model=fp32,decoder_model=q4");
    }

    #[test]
    fn a_limit_on_error_is_met_by_what_was_measured_alone() {
        let candidate = |dtype, bytes, error| Candidate { dtype, bytes, error };
        let known = |q8, q4| {
            vec![candidate(Dtype::Fp32, 400, Some(0.0)), candidate(Dtype::Q4, 60, q4), candidate(Dtype::Q8, 100, q8)]
        };
        let name = |limit, candidates| within(limit, candidates).map(Dtype::name).map_err(|error| error.to_string());
        assert_eq!(name(0.1, known(Some(0.02), Some(0.08))).unwrap(), "q4");
        assert_eq!(name(0.05, known(Some(0.02), Some(0.08))).unwrap(), "q8");
        assert_eq!(name(0.05, known(None, None)).unwrap(), "fp32");
        let error = name(0.01, known(Some(0.02), None).split_off(1)).unwrap_err();
        assert!(error.contains("q4 was not measured, q8 was measured at 0.02000"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_there(
            encoder in subsequence(Dtype::ALL.to_vec(), 1..=9),
            decoder in subsequence(Dtype::ALL.to_vec(), 1..=9),
            bits in prop::sample::select(vec![0, 2, 4, 8, 16, 32]),
        ) {
            let graphs = graphs(&encoder, &decoder);
            let found = dtypes(&Wishes { bits, ..Wishes::default() }, None, Backend::WebGpu, &graphs);
            prop_assert!(bits != 0 || found.is_ok());
            for ((_, dtype), graph) in found.iter().flat_map(|dtypes| dtypes.graphs()).zip(&graphs) {
                prop_assert!(graph.available.contains(&dtype));
                prop_assert!(bits == 0 || dtype.bits() == bits);
            }
        }
    }
}
