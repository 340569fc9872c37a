//! BenchmarkService.

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tonic::{Request, Response, Status};

use super::{generated::benchmark_service_server::BenchmarkService, runs, status::to_status};
use crate::{
    benchmark::{Benchmarks, Order, What},
    error::Error,
    proto::v1,
};

/// Most inputs of a run.
const MOST_ITEMS: usize = 1024;

/// The service.
pub struct Benchmark {
    /// What measures.
    pub benchmarks: Benchmarks,
}

#[tonic::async_trait]
impl BenchmarkService for Benchmark {
    type RunStream = BoxStream<'static, Result<v1::RunResponse, Status>>;

    async fn run(&self, request: Request<v1::RunRequest>) -> Result<Response<Self::RunStream>, Status> {
        let begun = async { self.benchmarks.run(order(request.into_inner())?).await };
        let (_, steps) = begun.await.map_err(|error| to_status(&error))?;
        let steps = stream::unfold(steps, |mut steps| async {
            let step = steps.recv().await?;
            Some((step.map(runs::step).map_err(|error| to_status(&error)), steps))
        });
        Ok(Response::new(steps.boxed()))
    }

    async fn list(
        &self,
        _request: Request<v1::BenchmarkServiceListRequest>,
    ) -> Result<Response<v1::BenchmarkServiceListResponse>, Status> {
        let listed = self.benchmarks.list().await.map_err(|error| to_status(&error))?;
        let runs = listed.into_iter().map(runs::listed).collect();
        Ok(Response::new(v1::BenchmarkServiceListResponse { runs }))
    }

    async fn get(
        &self,
        request: Request<v1::BenchmarkServiceGetRequest>,
    ) -> Result<Response<v1::BenchmarkServiceGetResponse>, Status> {
        let v1::BenchmarkServiceGetRequest { id, with_record } = request.into_inner();
        let got = async {
            let run = self.benchmarks.get(&id).await?;
            let record = if with_record { runs::record(&run)? } else { Vec::new() };
            Ok(v1::BenchmarkServiceGetResponse { run: Some(runs::run(&run)), record: record.into() })
        };
        got.await.map(Response::new).map_err(|error: Error| to_status(&error))
    }

    async fn compare(&self, request: Request<v1::CompareRequest>) -> Result<Response<v1::CompareResponse>, Status> {
        let v1::CompareRequest { base, other } = request.into_inner();
        let compared = self.benchmarks.compare(&base, &other).await.map_err(|error| to_status(&error))?;
        let rows = compared.comparisons.into_iter().map(runs::comparison).collect();
        Ok(Response::new(v1::CompareResponse { rows }))
    }
}

fn order(request: v1::RunRequest) -> Result<Order, Error> {
    let v1::RunRequest { plan, resume, items, parameters, require_hardware } = request;
    if items.len() > MOST_ITEMS {
        return Err(Error::invalid("items", format!("are {}; there may be {MOST_ITEMS}", items.len())));
    }
    let what = match (plan, resume.is_empty()) {
        (Some(plan), true) => What::Plan(Box::new(runs::plan(plan)?)),
        (None, false) => What::Resume(resume),
        _ => return Err(Error::invalid("plan", "must be given, or `resume`, and not both")),
    };
    let given = runs::given(&what, items, parameters);
    Ok(Order { what, given, require_hardware })
}
