//! PoolService.

use tonic::{Request, Response, Status};

use super::{convert, generated::pool_service_server::PoolService};
use crate::{pool::Pool, proto::v1};

/// The service.
pub struct Pools {
    /// What it shows.
    pub pool: Pool,
}

#[tonic::async_trait]
impl PoolService for Pools {
    async fn get(
        &self,
        _request: Request<v1::PoolServiceGetRequest>,
    ) -> Result<Response<v1::PoolServiceGetResponse>, Status> {
        let browsers = self.pool.view().browsers.iter().cloned().map(convert::browser).collect();
        Ok(Response::new(v1::PoolServiceGetResponse { browsers }))
    }
}
