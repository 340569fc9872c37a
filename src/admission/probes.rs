//! Probes: whether what a registration has new replicas asked is what requests may ask, and leaves nothing to chance. Pure.

use prost::Message;

use super::{Limits, items, parameters};
use crate::{
    error::Error,
    models::Model,
    proto::v1::{self, audio, item::Input},
};

/// Probes of a registration, and bytes of all of them.
const MOST: usize = 8;
const MOST_BYTES: usize = 1024 * 1024;

/// Checks the probes of a model.
pub fn check(model: &Model, limits: &Limits) -> Result<(), Error> {
    let probes = &model.spec.probes;
    let bytes = probes.iter().map(v1::Probe::encoded_len).sum::<usize>();
    if probes.len() > MOST || bytes > MOST_BYTES {
        let message = format!("are {} with {bytes} bytes; the most are {MOST} with {MOST_BYTES}", probes.len());
        return Err(Error::invalid("spec.probes", message));
    }
    let all = probes.iter().enumerate();
    all.into_iter().try_for_each(|(index, probe)| check_one(model, probe, &format!("spec.probes[{index}]"), limits))
}

fn check_one(model: &Model, probe: &v1::Probe, path: &str, limits: &Limits) -> Result<(), Error> {
    let item = probe.item.clone().unwrap_or_default();
    items::check_item(model, &item, &format!("{path}.item"), limits)?;
    let given = probe.parameters.clone().unwrap_or_default();
    parameters::check(model.spec.task, &given).map_err(|error| match error {
        Error::Invalid { field, message } => Error::Invalid { field: format!("{path}.{field}"), message },
        other => other,
    })?;
    if given.generation.is_some_and(|generation| generation.do_sample == Some(true)) {
        let message = "must not be set: an answer that is drawn is another one each time";
        return Err(Error::invalid(format!("{path}.parameters.generation.do_sample"), message));
    }
    match &item.input {
        Some(Input::Audio(v1::Audio { source: Some(audio::Source::Samples(samples)) }))
            if samples.rate == model.sample_rate && samples.data.len() % size_of::<f32>() == 0 =>
        {
            Ok(())
        }
        Some(Input::Audio(_)) => {
            let message =
                format!("must be samples, {} a second, as the model takes them: 32-bit floats", model.sample_rate);
            Err(Error::invalid(format!("{path}.item.audio"), message))
        }
        _ => Ok(()),
    }
}
