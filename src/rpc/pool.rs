//! PoolService.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, stream};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic::{Request, Response, Status};

use super::{convert, generated::pool_service_server::PoolService, matrix, status::to_status};
use crate::{
    activity::{Activity, Seen},
    admission::Admission,
    drain::Drain,
    error::Error,
    models::Registry,
    pool::Pool,
    proto::v1,
};

/// Least time between two messages of a watch.
const PACE: Duration = Duration::from_millis(100);
/// Most browsers.
const MOST: u32 = 64;

/// The service.
pub struct Pools {
    /// What it shows and steers.
    pub pool: Pool,
    /// The door for work, which knows where it leads.
    pub admission: Admission,
    /// What is registered.
    pub registry: Arc<Registry>,
    /// What the models do.
    pub activity: Arc<Activity>,
    /// Tells when to end.
    pub drain: Drain,
}

#[tonic::async_trait]
impl PoolService for Pools {
    async fn get(
        &self,
        request: Request<v1::PoolServiceGetRequest>,
    ) -> Result<Response<v1::PoolServiceGetResponse>, Status> {
        let view = self.pool.view();
        let mut pool = convert::pool(&view);
        if request.into_inner().with_log {
            for (browser, view) in pool.browsers.iter_mut().zip(&view.browsers) {
                browser.log = view.log.lines().into_iter().map(convert::log_line).collect();
            }
        }
        Ok(Response::new(v1::PoolServiceGetResponse { pool: Some(pool) }))
    }

    type WatchStream = stream::BoxStream<'static, Result<v1::WatchResponse, Status>>;

    async fn watch(&self, _request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let drain = self.drain.clone();
        let ended = async move { drain.begun().await };
        Ok(Response::new(changes(self.pool.clone()).take_until(ended).boxed()))
    }

    type WatchActivityStream = stream::BoxStream<'static, Result<v1::WatchActivityResponse, Status>>;

    async fn watch_activity(
        &self,
        _request: Request<v1::WatchActivityRequest>,
    ) -> Result<Response<Self::WatchActivityStream>, Status> {
        let drain = self.drain.clone();
        let ended = async move { drain.begun().await };
        Ok(Response::new(seconds(self.activity.clone()).take_until(ended).boxed()))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let explained = async {
            let model = self.registry.get(&request.into_inner().model)?;
            let candidates = self.pool.explain(model.spec.id.to_string()).await?;
            Ok((candidates, self.admission.explain(&model).await?))
        };
        let (candidates, routes) = explained.await.map_err(|error: Error| to_status(&error))?;
        Ok(Response::new(v1::ExplainResponse {
            candidates: candidates.into_iter().map(matrix::candidate).collect(),
            routes: routes.map(matrix::routes).unwrap_or_default(),
        }))
    }

    type MatrixStream = stream::BoxStream<'static, Result<v1::MatrixResponse, Status>>;

    async fn matrix(&self, request: Request<v1::MatrixRequest>) -> Result<Response<Self::MatrixStream>, Status> {
        let begun = async {
            let request = request.into_inner();
            let model = self.registry.get(&request.model)?;
            let (backends, dtypes) = matrix::wanted(&request, &model)?;
            self.pool.matrix(model, backends, dtypes).await
        };
        let (total, rows) = begun.await.map_err(|error| to_status(&error))?;
        let drain = self.drain.clone();
        let ended = async move { drain.begun().await };
        Ok(Response::new(matrix::rows(total, rows).take_until(ended).boxed()))
    }

    async fn scale(&self, request: Request<v1::ScaleRequest>) -> Result<Response<v1::ScaleResponse>, Status> {
        let v1::ScaleRequest { min_browsers: least, max_browsers: most } = request.into_inner();
        if most == 0 || most > MOST {
            let error = Error::invalid("max_browsers", format!("is {most}; it must be 1 to {MOST}"));
            return Err(to_status(&error));
        }
        if least > most {
            return Err(to_status(&Error::invalid("min_browsers", format!("is {least}, above max_browsers, {most}"))));
        }
        let scaled = self.pool.scale(least as usize, most as usize).await;
        scaled.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::ScaleResponse {}))
    }

    async fn recycle(&self, request: Request<v1::RecycleRequest>) -> Result<Response<v1::RecycleResponse>, Status> {
        let recycled = self.pool.recycle(request.into_inner().browser).await;
        recycled.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::RecycleResponse {}))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        let drained = self.pool.drain(request.into_inner().browser).await;
        drained.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::DrainResponse {}))
    }
}

/// The pool as it is now, and after each change of what is told of it.
fn changes(pool: Pool) -> impl Stream<Item = Result<v1::WatchResponse, Status>> {
    let views = pool.watch();
    stream::unfold((views, None), |(mut views, last)| async move {
        loop {
            if last.is_some() {
                sleep(PACE).await;
                views.changed().await.ok()?;
            }
            let now = convert::pool(&views.borrow_and_update());
            if last.as_ref() != Some(&now) {
                let response = v1::WatchResponse { pool: Some(now.clone()) };
                return Some((Ok(response), (views, Some(now))));
            }
        }
    })
}

/// The seconds that are known, and then each that ends, with the requests that failed meanwhile.
fn seconds(activity: Arc<Activity>) -> impl Stream<Item = Result<v1::WatchActivityResponse, Status>> {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((activity, ticks, Seen::default()), |(activity, mut ticks, mut seen)| async move {
        ticks.tick().await;
        let (seconds, failed) = activity.since(&mut seen, Instant::now());
        let response = v1::WatchActivityResponse {
            seconds: seconds.iter().map(|second| convert::second(second)).collect(),
            failed_requests: failed.iter().map(|failed| convert::failed_request(failed)).collect(),
        };
        Some((Ok(response), (activity, ticks, seen)))
    })
}
