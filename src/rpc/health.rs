//! Health: grpc.health.v1 for the service as a whole (""), for each of its gRPC services, and for each loaded model by
//! its id.

use std::collections::BTreeSet;

use tonic_health::{ServingStatus, server::HealthReporter};

use super::generated::{
    benchmark_service_server, capability_service_server, inference_service_server, model_service_server,
    pool_service_server,
};
use crate::{
    drain::Drain,
    pool::{ModelStatus, Pool, View},
};

const SERVICES: [&str; 6] = [
    "",
    model_service_server::SERVICE_NAME,
    inference_service_server::SERVICE_NAME,
    capability_service_server::SERVICE_NAME,
    pool_service_server::SERVICE_NAME,
    benchmark_service_server::SERVICE_NAME,
];

/// Keeps the reported states up to date until draining begins; then nothing serves.
pub async fn keep(reporter: HealthReporter, pool: Pool, drain: Drain) {
    let mut view = pool.watch();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for name in SERVICES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    loop {
        let now = view.borrow_and_update().clone();
        report_models(&reporter, &now, &mut known).await;
        tokio::select! {
            changed = view.changed() => if changed.is_err() { break },
            () = drain.begun() => break,
        }
    }
    known.extend(SERVICES.map(str::to_owned));
    for name in known {
        reporter.set_service_status(name, ServingStatus::NotServing).await;
    }
}

async fn report_models(reporter: &HealthReporter, view: &View, known: &mut BTreeSet<String>) {
    let gone: Vec<_> = known.iter().filter(|id| view.model(id).is_none()).cloned().collect();
    for id in gone {
        let mut reporter = reporter.clone();
        reporter.clear_service_status(&id).await;
        known.remove(&id);
    }
    for (id, status) in &view.models {
        let serving = match status {
            // One that sleeps answers, too: the request wakes it.
            ModelStatus::Ready(_) | ModelStatus::Asleep => ServingStatus::Serving,
            ModelStatus::Loading | ModelStatus::Failed(_) | ModelStatus::Simulated(_) => ServingStatus::NotServing,
        };
        reporter.set_service_status(&**id, serving).await;
        known.insert(id.to_string());
    }
}
