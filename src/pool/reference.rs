//! Reference: what models answer to their probes where that can be trusted. A replica that answers otherwise does not come
//! to serve.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OnceCell;

use crate::{job::Output, knowledge::Knowledge};

/// References that are held. What goes beyond begins anew, from what is kept on disk.
const MOST: usize = 1024;

/// The answers to a model's probes, in their order.
pub type Answers = Arc<Vec<Output>>;

/// Why there is no reference.
#[derive(Clone, Debug)]
pub struct Unmade {
    /// What is known of it.
    pub reason: String,
    /// Whether another try would end in the same way.
    pub lasting: bool,
}

/// A reference, or why there is none for good; empty while it is being made.
type Cell = Arc<OnceCell<Result<Answers, String>>>;

/// The references known, by what tells models with different answers apart.
#[derive(Debug)]
pub struct References {
    knowledge: Knowledge,
    /// Those made on WebAssembly, or why one could not be made.
    trusted: Mutex<HashMap<String, Cell>>,
    /// Those of first replicas, for where there is no other.
    firsts: Mutex<HashMap<String, Answers>>,
}

impl References {
    /// What is kept there, and none that is not.
    pub fn new(knowledge: Knowledge) -> Self {
        Self { knowledge, trusted: Mutex::default(), firsts: Mutex::default() }
    }

    /// The reference of a key. It is made once, whoever asks meanwhile, and kept.
    pub async fn trusted(
        &self,
        key: &str,
        make: impl Future<Output = Result<Vec<Output>, Unmade>>,
    ) -> Result<Answers, String> {
        let cell = self.cell(key);
        let made = async {
            if let Some(kept) = self.knowledge.reference(key).await {
                return Ok(Ok(Arc::new(kept)));
            }
            match make.await {
                Ok(answers) => {
                    self.knowledge.keep_reference(key.to_owned(), &answers);
                    Ok(Ok(Arc::new(answers)))
                }
                Err(Unmade { reason, lasting: true }) => Ok(Err(reason)),
                Err(Unmade { reason, lasting: false }) => Err(reason),
            }
        };
        cell.get_or_try_init(|| made).await?.clone()
    }

    /// The answers of the first replica that asks, which are these if there was none.
    pub fn first(&self, key: &str, answers: &[Output]) -> Answers {
        let mut firsts = lock(&self.firsts);
        if firsts.len() >= MOST {
            firsts.clear();
        }
        firsts.entry(key.to_owned()).or_insert_with(|| Arc::new(answers.to_vec())).clone()
    }

    /// Forgets what is not certain of a model's files: the answers of first replicas, and that there was no reference.
    pub fn forget(&self, sha256: &str) {
        lock(&self.firsts).retain(|key, _| !key.starts_with(sha256));
        lock(&self.trusted).retain(|key, cell| !key.starts_with(sha256) || matches!(cell.get(), Some(Ok(_))));
    }

    fn cell(&self, key: &str) -> Cell {
        let mut cells = lock(&self.trusted);
        if cells.len() >= MOST {
            cells.retain(|_, cell| cell.get().is_none());
        }
        cells.entry(key.to_owned()).or_default().clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{References, Unmade};
    use crate::{
        job::Output,
        knowledge::{Knowledge, Place},
        proto::v1::Embedding,
    };

    fn answers(value: f32) -> Vec<Output> {
        vec![Output::Embedding(Embedding { values: vec![value] })]
    }

    #[tokio::test]
    async fn a_reference_is_made_once_and_kept() {
        let knowledge = Knowledge::open(Place::Memory);
        let references = References::new(knowledge.clone());
        let made = references.trusted("a", async { Ok(answers(1.0)) }).await.unwrap();
        assert_eq!(*references.trusted("a", async { panic!("it is known") }).await.unwrap(), *made);
        let later = References::new(knowledge);
        assert_eq!(*later.trusted("a", async { panic!("it is kept") }).await.unwrap(), *made);
        later.forget("a");
        assert_eq!(*later.trusted("a", async { panic!("it is certain") }).await.unwrap(), *made);
    }

    #[tokio::test]
    async fn that_there_is_none_is_known_until_it_is_forgotten() {
        let references = References::new(Knowledge::open(Place::Memory));
        let unmade = |lasting| Unmade { reason: "no memory".into(), lasting };
        references.trusted("sha b", async { Err(unmade(false)) }).await.unwrap_err();
        references.trusted("sha b", async { Err(unmade(true)) }).await.unwrap_err();
        references.trusted("sha b", async { panic!("it failed") }).await.unwrap_err();
        assert_eq!(*references.first("sha b", &answers(1.0)), answers(1.0));
        assert_eq!(*references.first("sha b", &answers(2.0)), answers(1.0));
        references.forget("sha");
        assert_eq!(*references.trusted("sha b", async { Ok(answers(3.0)) }).await.unwrap(), answers(3.0));
        assert_eq!(*references.first("sha b", &answers(2.0)), answers(2.0));
    }
}
