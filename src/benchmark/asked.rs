//! Asked: what the models are asked.

use prost::Message;
use sha2::{Digest, Sha256};
use webinfer_bench::record::Asked;

use crate::{
    models::{Model, probes},
    proto::v1,
};

/// What the record says of what models are asked, where nothing was given.
const PROBES: &str = "probes";

/// What a client gave for all models. Empty for the service's own probes.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Inputs, which are asked in turn.
    pub items: Vec<v1::Item>,
    /// How they are to be run.
    pub parameters: Option<v1::Parameters>,
    /// What they are, in words.
    pub what: String,
}

impl Given {
    /// Whether a model that was asked so can be asked the same again.
    pub fn is_like(&self, asked: &Asked) -> bool {
        match (asked.what == PROBES, self.items.is_empty()) {
            (true, true) => true,
            (false, false) => asked.sha256 == hash(&self.items, self.parameters.as_ref()),
            _ => false,
        }
    }
}

fn hash(items: &[v1::Item], parameters: Option<&v1::Parameters>) -> String {
    let mut hash = Sha256::new();
    for item in items {
        hash.update(item.encode_length_delimited_to_vec());
    }
    hash.update(parameters.map(Message::encode_to_vec).unwrap_or_default());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The questions to one model.
#[derive(Clone, Debug)]
pub struct Questions {
    items: Vec<v1::Item>,
    /// How they are to be run.
    pub parameters: Option<v1::Parameters>,
    /// What they are, for the record.
    pub asked: Asked,
}

impl Questions {
    /// Those that were given, or else the probes of a model. The error tells why there are none.
    pub fn new(given: &Given, model: &Model) -> Result<Self, String> {
        let probes = if given.items.is_empty() { probes(model) } else { Vec::new() };
        let what = if given.items.is_empty() { PROBES.to_owned() } else { given.what.clone() };
        let parameters = given.parameters.clone().or_else(|| probes.first()?.parameters.clone());
        let own = probes.into_iter().filter_map(|probe| probe.item);
        let items: Vec<_> = own.chain(given.items.iter().cloned()).collect();
        if items.is_empty() {
            let (id, task) = (&model.spec.id, model.spec.task);
            return Err(format!("there is nothing to ask {id} by itself: give inputs, which are {}", task.inputs()));
        }
        let sha256 = hash(&items, parameters.as_ref());
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        Ok(Self { items, parameters, asked: Asked { what, count, sha256 } })
    }

    /// An error where a request of so many items would be larger than messages may be.
    pub fn check(&self, batch: u32, max_message_bytes: usize) -> Result<(), String> {
        let largest = self.items.iter().map(Message::encoded_len).max().unwrap_or(0);
        let bytes = largest.saturating_mul(batch as usize);
        if bytes <= max_message_bytes {
            return Ok(());
        }
        Err(format!("a request would have {bytes} bytes; {max_message_bytes} are the most, by --max-message-bytes"))
    }

    /// The items of a request: so many times the same one, so that all run in one call whatever their lengths. The next
    /// request has the next one.
    pub fn request(&self, number: u64, batch: u32) -> Vec<v1::Item> {
        let item = &self.items[(number % self.items.len() as u64) as usize];
        vec![item.clone(); batch as usize]
    }
}
