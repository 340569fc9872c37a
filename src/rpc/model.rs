//! ModelService.

use std::sync::Arc;

use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{convert, generated::model_service_server::ModelService, matrix, status::to_status};
use crate::{
    admission::Admission,
    drain::Drain,
    error::Error,
    models::{self, Candidate, Dtype, Model, Registry, Wishes},
    pool::{LoadStatus, Phase, Pool},
    proto::v1,
};

/// The service.
pub struct Models {
    /// The door for work, which knows what an item may be.
    pub admission: Admission,
    /// What is registered.
    pub registry: Arc<Registry>,
    /// What is loaded.
    pub pool: Pool,
    /// Ends the steps of loads.
    pub drain: Drain,
}

impl Models {
    fn describe(&self, model: &Model) -> v1::Model {
        convert::model(model, self.pool.view().model(&model.spec.id))
    }

    /// What a model can run in, and what was measured of that; the fewest bits first.
    async fn precisions(&self, model: &Arc<Model>) -> Vec<v1::Precision> {
        let mut precisions = Vec::new();
        for dtype in model.available.clone() {
            let Some((variant, sha256)) = variant(model, dtype).await else { continue };
            let (verdicts, costs) = self.pool.measured(&sha256).await;
            precisions.push(v1::Precision {
                dtype: dtype.name().to_owned(),
                bits: dtype.bits(),
                bytes: variant.bytes(),
                measured: matrix::measured(verdicts, &costs),
            });
        }
        precisions.sort_by_key(|precision| precision.bits);
        precisions
    }

    /// The precision that is within a registration's limit on error; none where it has no limit, or is known already.
    async fn within(&self, wishes: &Wishes) -> Result<Option<Dtype>, Error> {
        if wishes.max_error == 0.0 || self.registry.get(&wishes.id).is_ok() {
            return Ok(None);
        }
        let (registry, wanted) = (self.registry.clone(), wishes.clone());
        // It fails without fp32, which is what others are measured against.
        let model = blocking(move || registry.look(&wanted)).await?;
        let mut candidates = Vec::new();
        for dtype in model.available.clone() {
            let Some((variant, sha256)) = variant(&model, dtype).await else { continue };
            let error = match dtype {
                Dtype::Fp32 => Some(0.0),
                _ => matrix::error(&self.pool.measured(&sha256).await.0, model.spec.allowed()),
            };
            candidates.push(Candidate { dtype, bytes: variant.bytes(), error });
        }
        models::within(wishes.max_error, candidates).map(Some)
    }

    fn find(&self, id: &str) -> Result<Arc<Model>, Status> {
        self.registry.get(id).map_err(|error| to_status(&error))
    }
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn register(&self, request: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterResponse>, Status> {
        let wishes = convert::wishes(request.into_inner().spec).map_err(|error| to_status(&error))?;
        let within = self.within(&wishes).await.map_err(|error| to_status(&error))?;
        let (registry, admission) = (self.registry.clone(), self.admission.clone());
        let register = move || registry.register(wishes, within, |model| admission.check_probes(model));
        let model = blocking(register).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::RegisterResponse { model: Some(self.describe(&model)) }))
    }

    type LoadStream = BoxStream<'static, Result<v1::LoadResponse, Status>>;

    async fn load(&self, request: Request<v1::LoadRequest>) -> Result<Response<Self::LoadStream>, Status> {
        let model = self.find(&request.into_inner().id)?;
        let status = self.pool.load(model).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(steps(status, self.drain.clone()).boxed()))
    }

    async fn unload(&self, request: Request<v1::UnloadRequest>) -> Result<Response<v1::UnloadResponse>, Status> {
        let model = self.find(&request.into_inner().id)?;
        let ended = self.pool.unload(model.spec.id.clone()).await;
        let ended_replicas = ended.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::UnloadResponse { ended_replicas }))
    }

    async fn unregister(
        &self,
        request: Request<v1::UnregisterRequest>,
    ) -> Result<Response<v1::UnregisterResponse>, Status> {
        let id = request.into_inner().id;
        // Forgotten first, so that nobody loads it again in between.
        let model = self.registry.remove(&id).map_err(|error| to_status(&error))?;
        self.pool.unload(model.spec.id.clone()).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::UnregisterResponse {}))
    }

    async fn get(
        &self,
        request: Request<v1::ModelServiceGetRequest>,
    ) -> Result<Response<v1::ModelServiceGetResponse>, Status> {
        let model = self.find(&request.into_inner().id)?;
        let precision = |(dtype, bytes): (Dtype, u64)| {
            let (dtype, bits) = (dtype.name().to_owned(), dtype.bits());
            v1::Precision { dtype, bits, bytes, measured: Vec::new() }
        };
        let makeable = model.makeable().await.into_iter().map(precision).collect();
        let precisions = self.precisions(&model).await;
        let model = v1::Model { precisions, makeable, ..self.describe(&model) };
        Ok(Response::new(v1::ModelServiceGetResponse { model: Some(model) }))
    }

    async fn list(
        &self,
        _request: Request<v1::ModelServiceListRequest>,
    ) -> Result<Response<v1::ModelServiceListResponse>, Status> {
        let models = self.registry.list().iter().map(|model| self.describe(model)).collect();
        Ok(Response::new(v1::ModelServiceListResponse { models }))
    }
}

/// A model in a precision, and the hash of its files; none where they cannot be used.
async fn variant(model: &Arc<Model>, dtype: Dtype) -> Option<(Arc<Model>, String)> {
    let variant = model.in_dtype(dtype).await.ok()?;
    let own = variant.clone();
    // It goes on where its caller leaves: the next one does not begin anew.
    let sha256 = tokio::spawn(async move { own.sha256().await }).await.ok()?.ok()?;
    variant.changed().await.is_none().then_some((variant, sha256))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
}

/// The steps of a load up to its end: the step in which all serve, or an error.
fn steps(status: watch::Receiver<LoadStatus>, drain: Drain) -> impl Stream<Item = Result<v1::LoadResponse, Status>> {
    let first = true;
    stream::unfold(Some((status, drain, first)), |state| async {
        let (mut status, drain, first) = state?;
        if !first {
            tokio::select! {
                changed = status.changed() => changed.ok()?,
                () = drain.begun() => return Some((Err(to_status(&Error::ShuttingDown)), None)),
            }
        }
        let now = status.borrow_and_update().clone();
        Some(match (&now.error, now.phase) {
            (Some(error), phase) if phase != Phase::Simulated => (Err(to_status(error)), None),
            (_, Phase::Ready | Phase::Simulated) => (Ok(convert::progress(&now)), None),
            _ => (Ok(convert::progress(&now)), Some((status, drain, false))),
        })
    })
}
